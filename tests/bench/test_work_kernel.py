"""The guest's end of a command, over a socket pair in place of a port."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
from collections import defaultdict
from pathlib import Path

import pytest
from world import in_a_world

from emulator.bench import child, frames, work
from emulator.bench.frames import Kind, Order
from emulator.substrate import libc

pytestmark = pytest.mark.kernel

WITHIN_S = 20.0


class Host:
    """Who asks."""

    def __init__(self, order: Order) -> None:
        self.link, theirs = socket.socketpair()
        theirs.setblocking(False)
        self.child = os.fork()
        if self.child == 0:
            self.link.close()
            work.serve(theirs.fileno(), frames.order(order))
        theirs.close()
        self.reader = frames.Reader(after=frames.mark(order.mark))
        self.heard: dict[Kind, bytearray] = defaultdict(bytearray)

    def until(self, wanted: Kind) -> bytes:
        """Listen until such a frame has come; its payload."""
        while True:
            for kind, payload in self.reader:
                self.heard[Kind(kind)] += payload
                if kind == wanted:
                    return payload
            assert select.select([self.link], [], [], WITHIN_S)[0], "nothing more"
            self.reader.feed(self.link.recv(1 << 16))

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        self.link.sendall(frames.data(kind, payload) or frames.frame(kind))

    def code(self) -> int:
        """That of the command; its process ends with the link."""
        (code,) = struct.unpack("=i", self.until(Kind.EXIT))
        self.link.close()
        os.waitpid(self.child, 0)
        return int(code)


def order(*argv: str, see: tuple[str, ...] = (), write: tuple[str, ...] = ()) -> Order:
    return Order("m" * 32, list(argv), "", "/", dict(os.environ), [*see], [*write], None)


def test_input_comes_as_fast_as_it_is_taken() -> None:
    def body() -> None:
        host = Host(order("wc", "-c"))
        sent = room_b = 0
        room_b = frames.ROOM_B
        while sent < 3 * frames.ROOM_B:
            if not room_b:
                (taken,) = struct.unpack("=I", host.until(Kind.TAKEN))
                room_b += taken
            part = min(room_b, frames.MOST_B)
            host.send(Kind.STDIN, bytes(part))
            sent, room_b = sent + part, room_b - part
        host.send(Kind.STDIN_ENDS)
        assert host.code() == 0
        assert int(host.heard[Kind.STDOUT]) == sent

    in_a_world(body)


def test_who_does_not_read_leaves_room_for_signals_alone() -> None:
    def body() -> None:
        host = Host(order("sleep", "1000"))
        host.send(Kind.STDIN, bytes(frames.ROOM_B))
        host.send(Kind.PING)
        host.until(Kind.PONG)
        host.send(Kind.SIGNAL, bytes([signal.SIGTERM]))
        assert host.code() == -signal.SIGTERM
        (taken,) = struct.unpack("=I", host.heard[Kind.TAKEN][:4])
        assert taken < frames.ROOM_B

    in_a_world(body)


def test_who_has_closed_its_input_is_sent_it_in_vain() -> None:
    def body() -> None:
        host = Host(order("sh", "-c", "exec <&-; sleep 1"))
        host.send(Kind.STDIN, bytes(frames.ROOM_B))
        taken = 0
        while taken < frames.ROOM_B:
            taken += struct.unpack("=I", host.until(Kind.TAKEN))[0]
        assert host.code() == 0

    in_a_world(body)


def test_an_interrupt_is_for_who_has_the_terminal() -> None:
    asked = "trap 'echo heard; exit 3' INT; echo on; while :; do sleep 0.05; done"

    def body() -> None:
        words = ("bash", "-mc", f'sh -c "{asked}"; echo code $?')  # -m: a group of its own
        host = Host(order(*words)._replace(window=(24, 80)))
        while b"on" not in host.heard[Kind.STDOUT]:
            host.until(Kind.STDOUT)
        host.send(Kind.SIGNAL, bytes([signal.SIGINT]))
        host.code()
        assert b"heard" in host.heard[Kind.STDOUT]
        assert b"code 3" in host.heard[Kind.STDOUT]

    in_a_world(body)


def test_who_comes_before_the_other_is_seen_to_have_gone() -> None:
    def body() -> None:
        libc.adopt_orphans()
        host = Host(order("sleep", "1000"))
        second = order("echo", "second")._replace(mark="n" * 32)
        host.link.sendall(frames.order(second))
        host.reader = frames.Reader(after=frames.mark(second.mark))
        assert host.code() == 0
        assert host.heard[Kind.STDOUT] == b"second\n"
        _, status = os.wait()
        assert os.WTERMSIG(status) == signal.SIGKILL, "the first, however new it was"

    in_a_world(body)


def test_what_of_the_host_is_seen() -> None:
    def body() -> None:
        host, own = Path("/run/host"), Path("/run/own")
        child.HOST = host
        theirs = Path(f"{host}{own}")
        for folder in (theirs / "specs", theirs / "results", own):
            folder.mkdir(parents=True)
        libc.mount("none", str(own), "tmpfs")
        libc.mount("none", str(host), "tmpfs")
        for folder in (theirs / "specs", theirs / "results"):
            folder.mkdir(parents=True)
        (theirs / "spec.yaml").write_text("one")
        (theirs / "specs" / "spec.yaml").write_text("two")
        (theirs / "link").symlink_to(own / "results")
        (own / "guests").write_text("its own")
        for _ in range(2):  # what one command was shown is no obstacle to the next
            pid = os.fork()
            if pid == 0:
                try:
                    _shown(own)
                    os._exit(0)
                finally:
                    os._exit(1)
            assert os.waitpid(pid, 0)[1] == 0
        assert (theirs / "results" / "made").read_text() == "made"

    in_a_world(body)


def _shown(own: Path) -> None:
    libc.unshare(libc.CLONE_NEWNS)
    libc.mount("none", "/", "", libc.MS_REC | libc.MS_PRIVATE)
    names = ("", "/spec.yaml", "/specs", "/results", "/link", "/nothing")
    for name in names:
        child.show(f"{own}{name}", write=name == "/results")
    assert (own / "spec.yaml").read_text() == "one"
    assert (own / "specs" / "spec.yaml").read_text() == "two"
    assert (own / "guests").read_text() == "its own", "its folder is not hidden"
    assert not (own / "nothing").exists()
    for place in (own / "specs" / "new", own / "spec.yaml"):
        try:
            place.write_text("x")
        except OSError:
            continue
        raise AssertionError(f"{place} can be written")
    (own / "link" / "made").write_text("made")
