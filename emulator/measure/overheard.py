"""Whether what pods say to each other can be read on the way.

::

    found = overheard(switch, "sw-n1", cluster.pod("n1-p1"), cluster.pod("n2-p1"))
    assert found.clear == 0
    assert set(found.kinds) == {"udp 51820"}

The ear is beside the speaker's node, at the other end of its cable: it hears every frame that the
node sends or gets. As a control, the same in a network that does not encrypt finds all of them.

It is tcpdump's, which has the kernel copy each frame as it passes. A socket that is read holds no
copy: ESP is decrypted in place, in pages that a frame in the socket's queue shares, and whoever
reads it late finds what never was on the cable.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from functools import partial
from typing import NamedTuple

from emulator.errors import PodwireError, Problem
from emulator.measure import tool, wait
from emulator.measure.failure import MeasureFailed
from emulator.measure.frames import Frame, frames
from emulator.measure.sample import Measured, all_failed, good
from emulator.place import Completed, Place

METRICS = ("readable_payloads",)
COUNT = 1000
PORT = 7070
WITHIN_S = 60.0

_LISTENER = """
import socket, sys
server = socket.create_server(("", int(sys.argv[1])), family=int(sys.argv[2]))
link, _ = server.accept()
with link:
    while words := link.recv(65536):
        link.sendall(words)
"""

_SPEAKER = """
import socket, sys
marker, count = bytes.fromhex(sys.argv[3]), int(sys.argv[4])
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 30) as link:
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for number in range(count):
        words = marker + number.to_bytes(4, "big") + marker
        link.sendall(words)
        back = b""
        while len(back) < len(words):
            back += link.recv(4096) or sys.exit("the listener has hung up")
        assert back == words
"""
"""One after the other: each payload is in a segment of its own."""


class Overheard(NamedTuple):
    """``clear``: how many of the payloads could be read, of ``said``, each of which came and was
    sent back; ``frames`` passed meanwhile, by ``kinds`` of outer protocol and port (``udp 51820``,
    ``esp``), ARP and the like left out."""

    said: int
    clear: int
    frames: int
    kinds: dict[str, int]


def measured(ear: Place, interface: str, speaker: Place, listener: Place) -> Measured:
    """``readable_payloads``, with what was heard in its details."""
    try:
        found = overheard(ear, interface, speaker, listener)
    except MeasureFailed as error:
        return all_failed(METRICS, str(error), {})
    return Measured((good(METRICS[0], found.clear, **found._asdict()),), {})


def overheard(
    ear: Place, interface: str, speaker: Place, listener: Place, address: str = "",
    count: int = COUNT,
) -> Overheard:  # fmt: skip
    """What the ear hears at its interface while one pod says ``count`` things to another.

    ``address``: of the listener, its first one unless given. MeasureFailed.
    """
    to, marker = address or listener.ip, os.urandom(24)
    tape = f"/tmp/ear-{marker.hex()}"
    recorder = ear.record(interface, tape)
    family = str(10 if ":" in to else 2)
    heard = listener.start(tool.python(_LISTENER, str(PORT), family))
    try:
        wait.until(partial(_there, ear, tape), WITHIN_S, "tcpdump records", place=ear.name)
        wait.listening(listener, "tcp", PORT, deadline_s=WITHIN_S, server=heard)
        words = tool.python(_SPEAKER, to, str(PORT), marker.hex(), str(count))
        spoken = speaker.run(words, timeout_s=5 * WITHIN_S)
        if spoken.returncode:
            raise MeasureFailed(f"speaker at {speaker.name}: {tool.said(spoken)}")
        recorder.signal(signal.SIGINT)
        done = tool.finish(recorder, "tcpdump", ear, WITHIN_S)
        if done.returncode:
            raise MeasureFailed(f"tcpdump at {ear.name}: {tool.said(done)}")
        _heard_all(ear, done)
        passed = list(frames(ear.read_file(tape)))
    finally:
        recorder.kill()
        heard.kill()
        ear.run(["rm", "-f", tape], timeout_s=WITHIN_S)
    clear = {found for frame in passed for found in said(marker, count, frame.data)}
    kinds = Counter(of for frame in passed if (of := kind(frame)))
    if max(kinds.values(), default=0) < 2 * count:
        raise MeasureFailed(
            Problem(f"{ear.name}:{interface}", f"frames of {dict(kinds)} passed",
                    f"{2 * count} of one kind: {count} payloads and their replies")
        )  # fmt: skip
    return Overheard(count, len(clear), len(passed), dict(kinds))


_DROPPED = re.compile(rb"^([1-9]\d*) packets dropped by (kernel|interface)", re.M)


def _heard_all(ear: Place, done: Completed) -> None:
    """MeasureFailed when tcpdump says that it missed some."""
    if missed := _DROPPED.search(done.stderr):
        raise MeasureFailed(f"tcpdump at {ear.name}: {missed[0].decode()}")


_IGMP = 2
_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 50: "esp", 58: "icmp6"}


def said(marker: bytes, count: int, data: bytes) -> set[int]:
    """The numbers of the payloads, of so many, of which a frame has a mark and the number."""
    # the mark behind a number is none before one; marks may follow on each other
    behind = re.findall(b"(?=" + re.escape(marker) + b"(....))", data, re.DOTALL)
    return {number for one in behind if (number := int.from_bytes(one, "big")) < count}


def kind(frame: Frame) -> str:
    """Outer protocol and port; empty for what is no IP, and for reports of multicast groups."""
    data = frame.data
    ether, body = int.from_bytes(data[12:14], "big"), data[14:]
    if ether == 0x800:
        number, rest = body[9], body[(body[0] & 15) * 4 :]
    elif ether == 0x86DD:
        number, rest = body[6], body[40:]
    else:
        return ""
    if number == _IGMP:
        return ""
    # a tunnel in UDP draws the port it comes from, Geneve any; a connection one above the known
    ports = [int.from_bytes(rest[at : at + 2], "big") for at in (0, 2)]
    known = {6: min(ports), 17: ports[1]}
    port = f" {known[number]}" if number in known else ""
    return _NAMES.get(number, str(number)) + port


def _there(ear: Place, path: str) -> bool:
    try:
        ear.read_file(path)
    except PodwireError:
        return False
    return True
