"""Guests of the bench: one that boots and is frozen, and any number that go on from there."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import socket
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from emulator.bench import keeper, trouble
from emulator.bench.virtual import machine
from emulator.bench.virtual.image import Image
from emulator.bench.virtual.inside import MAGIC
from emulator.errors import PodwireError, Problem

BOOT_S: Final = 300.0
"""Until a guest asks to be frozen; ten to thirty seconds are usual."""
Say = Callable[[str], None]


def frozen(image: Image, say: Say) -> Path:
    """The guest as it is when it has booted and loaded everything; kept beside the image."""
    place = image.kernel.with_name(f"moment-{image.digest}")
    if place.exists():
        return place
    whole = image.kernel.with_name(f"whole-{image.digest}.cpio")
    machine.joined([image.base, image.sources], whole)
    say("bench virtual: booting a guest, once for this version of the program …")
    with _running(image, b"{}", ()) as guest:
        guest.until("STOP", BOOT_S)
        fresh = place.with_name(f".{place.name}-{os.getpid()}")
        try:
            guest.ask("migrate", uri=f"exec:cat > '{fresh}'")
            guest.moved(BOOT_S)
            fresh.rename(place)
        finally:
            fresh.unlink(missing_ok=True)
    return place


def run(image: Image, moment: Path, order: dict[str, Any], patience_s: float) -> Any:
    """Carry out an order in a guest of its own: the answer of its function.

    ``order``: ``call`` (module:function), ``argument`` (plain JSON), ``seed`` (text). PodwireError
    when the guest fails, hangs or ends without an answer, with what it said.
    """
    with _running(image, json.dumps(order).encode(), ("-incoming", "defer", "-S")) as guest:
        guest.ask("migrate-incoming", uri=f"exec:cat '{moment}'")
        guest.moved(BOOT_S)
        guest.ask("cont")
        guest.ended(patience_s)
        return guest.answer()


class _Guest:
    def __init__(self, folder: Path, link: socket.socket, ended: int) -> None:
        self._folder, self._link, self._ended = folder, link, ended
        self._heard = b""
        self._told()  # its greeting
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> Any:
        """Carry out a command of QEMU's; what it returns. PodwireError when it refuses."""
        self._link.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            told = self._told()
            if "error" in told:
                raise self._failed(f"{command}: {told['error'].get('desc')}", "QEMU to do it")
            if "return" in told:
                return told["return"]

    def until(self, event: str, patience_s: float) -> None:
        """Wait for an event."""
        deadline = time.monotonic() + patience_s
        while self._told(deadline).get("event") != event:
            pass

    def moved(self, patience_s: float) -> None:
        """Wait until it has been written, or read."""
        deadline = time.monotonic() + patience_s
        while (status := self.ask("query-migrate").get("status")) != "completed":
            if status == "failed" or time.monotonic() > deadline:
                raise self._failed(f"its state: {status}", "it to be kept or taken up")
            time.sleep(0.02)

    def ended(self, patience_s: float) -> None:
        """Wait until it has switched itself off."""
        if not select.select([self._ended], [], [], patience_s)[0]:
            raise self._failed(f"no end after {patience_s:.0f} s", "an answer")

    def answer(self) -> Any:
        """What it has written, whole."""
        data = (self._folder / "answers").read_bytes()
        head = len(MAGIC) + 40
        (size,) = struct.unpack_from("=Q", data, len(MAGIC)) if len(data) >= head else (0,)
        packed = data[head : head + size]
        good = data.startswith(MAGIC) and hashlib.sha256(packed).digest() == data[head - 32 : head]
        if not good:
            raise self._failed("it ended without an answer", "one")
        found = json.loads(zlib.decompress(packed))
        if "error" in found:
            raise self._failed(found["error"].strip(), "an answer")
        return found["answer"]

    def _told(self, deadline: float = float("inf")) -> dict[str, Any]:
        while b"\n" not in self._heard:
            left_s = min(BOOT_S, deadline - time.monotonic())
            if not select.select([self._link], [], [], max(0.0, left_s))[0]:
                raise self._failed(f"QEMU is silent for {left_s:.0f} s", "a word of it")
            more = self._link.recv(1 << 16)
            if not more:
                raise self._failed("QEMU has ended", "it to run")
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        return told

    def _failed(self, found: str, expected: str) -> PodwireError:
        said = ""
        for name in ("qemu", "console"):
            path = self._folder / name
            text = path.read_text(errors="replace") if path.exists() else ""
            said += trouble.tail(text)
        return PodwireError(
            Problem("bench virtual", found + said, expected,
                    "try again; a machine that is too busy is too slow for it")
        )  # fmt: skip


@contextmanager
def _running(image: Image, order: bytes, more: tuple[str, ...]) -> Iterator[_Guest]:
    """A guest that is gone after the block, and with this process at the latest."""
    with tempfile.TemporaryDirectory(prefix="podwire-virtual-") as place:
        folder = Path(place)
        (folder / "order").write_bytes(machine.padded(order))
        words = machine.words(image, folder / "console", folder / "answers", folder / "order")
        ours, theirs = socket.socketpair()
        output = os.open(folder / "qemu", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            pid, ended = keeper.spawn(
                [*words, *more], output, theirs.fileno(), machine.surroundings(image)
            )
        finally:
            theirs.close()
            os.close(output)
        try:
            with ours:
                yield _Guest(folder, ours, ended)
        finally:
            signal.pidfd_send_signal(ended, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(ended)
