"""Guests of the bench: one that boots and is frozen, and any number that go on from there."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from emulator import errors
from emulator.bench import keeper, trouble
from emulator.bench.virtual import machine
from emulator.bench.virtual.image import Image, unused
from emulator.bench.virtual.inside import MAGIC
from emulator.bench.virtual.qmp import Gone, Monitor
from emulator.errors import PodwireError, Problem

BOOT_S: Final = 300.0
"""Until a guest asks to be frozen; ten to thirty seconds are usual."""
THAW_S: Final = 120.0
"""Until a guest goes on; one second is usual."""
_SUM: Final = ".sha256"
Say = Callable[[str], None]


def frozen(image: Image, say: Say) -> Path:
    """The guest as it is when it has booted and loaded everything; kept beside the image."""
    place = image.kernel.with_name(f"moment-{image.digest}")
    if _whole(place):
        place.touch()
        return place
    if place.exists():
        say(f"bench virtual: {place} is damaged: made anew")
    say("bench virtual: booting a guest, once for this version of the program …")
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".freezing-") as work:
        initrd, fresh = Path(work) / "initrd", Path(work) / "moment"
        machine.joined([image.base, image.sources], initrd)
        with _running(image, b"{}", ("-initrd", str(initrd))) as guest:
            guest.until_it_asks_for_pause()
            guest.written_to(fresh)
        _sum_of(place).write_text(_sha256(fresh))
        fresh.rename(place)
    _clear_away(place.parent)
    return place


def _clear_away(here: Path) -> None:
    """Take away what was kept for versions of the program that nobody seems to use."""
    for name in ("moment", "sources", "settings"):
        for path in unused(one for one in here.glob(f"{name}-*") if one.suffix != _SUM):
            _sum_of(path).unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def _sum_of(path: Path) -> Path:
    return path.with_name(f"{path.name}{_SUM}")


def _whole(path: Path) -> bool:
    try:
        return _sum_of(path).read_text() == _sha256(path)
    except FileNotFoundError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextmanager
def thawed(
    image: Image, moment: Path, order: Mapping[str, Any], more: tuple[str, ...] = ()
) -> Iterator[Guest]:
    """A guest that carries out an order, from where it was frozen; it is gone after the block.

    ``order``: ``call`` (module:function), ``argument`` (plain JSON), ``seed`` (text), ``env``.
    ``more``: words for QEMU that the guest does not notice.
    """
    with _running(image, json.dumps(order).encode(), ("-incoming", "defer", "-S", *more)) as guest:
        guest.go_on_from(moment)
        yield guest


class Guest:
    """A guest that runs. ``ended`` is readable when it has switched itself off."""

    def __init__(self, folder: Path, link: socket.socket, ended: int) -> None:
        self.folder, self.ended = folder, ended
        with self._told():
            self._monitor = Monitor(link, BOOT_S)

    def until_it_asks_for_pause(self) -> None:
        """Wait until it has booted and loaded everything. PodwireError when it does not."""
        with self._told():
            self._monitor.until("STOP", BOOT_S)

    def written_to(self, place: Path) -> None:
        """Write its state to a file. PodwireError when there is no room."""
        with self._told():
            self._monitor.migrate("migrate", f"exec:cat > '{place}'", BOOT_S)

    def go_on_from(self, place: Path) -> None:
        """Take up the state in a file, and go on."""
        with self._told():
            self._monitor.migrate("migrate-incoming", f"exec:cat '{place}'", THAW_S)
            self._monitor.ask("cont")

    def answer(self) -> Any:
        """What its function has returned, when it has ended; or the PodwireError that it raised.
        PodwireError for a guest that ended without an answer, with what it said."""
        data = (self.folder / "answers").read_bytes()
        head = len(MAGIC) + 40
        (size,) = struct.unpack_from("=Q", data, len(MAGIC)) if len(data) >= head else (0,)
        packed = data[head : head + size]
        good = data.startswith(MAGIC) and hashlib.sha256(packed).digest() == data[head - 32 : head]
        if not good:
            raise self.failed("it ended without an answer")
        found = json.loads(zlib.decompress(packed))
        if "problems" in found:
            kind: type[PodwireError] = getattr(errors, found["kind"], PodwireError)
            raise kind(*(_problem(one) for one in found["problems"]))
        if "error" in found:
            raise self.failed(found["error"].strip())
        return found["answer"]

    def failed(self, found: str) -> PodwireError:
        """An error, with the last that the guest and QEMU have said."""
        said = ""
        for name in ("qemu", "console"):
            path = self.folder / name
            said += path.read_text(errors="replace") if path.exists() else ""
        return PodwireError(
            Problem("bench virtual", found + trouble.tail(said), "an answer of its guest",
                    "try again; a machine that is too busy is too slow for it, and a full disk "
                    f"too small ({self.folder.parent})")
        )  # fmt: skip

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Gone as gone:
            raise self.failed(str(gone)) from gone


def _problem(told: Any) -> Problem | str:
    return told if isinstance(told, str) else Problem(*told)


@contextmanager
def _running(image: Image, order: bytes, more: tuple[str, ...]) -> Iterator[Guest]:
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
                yield Guest(folder, ours, ended)
        finally:
            signal.pidfd_send_signal(ended, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(ended)
