"""Guests of the bench: one that boots and is frozen, and any number that go on from there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
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
from emulator.bench.virtual.image import Image, clear_away, finished, folder
from emulator.bench.virtual.inside import MAGIC
from emulator.bench.virtual.qmp import Gone, Monitor
from emulator.errors import PodwireError, Problem

BOOT_S: Final = 300.0
"""Until a guest asks to be frozen; ten to thirty seconds are usual."""
THAW_S: Final = 120.0
"""Until a guest goes on; one second is usual."""
_MOMENT, _SUM = "moment", "sha256"
_LATER: Final = ("-incoming", "defer", "-S")
"""For QEMU: not from the beginning, but from a state that is still to come."""
_ANSWER: Final = "an answer of its guest"
_THE_SAME: Final = "the same order ends in the same way again; --on native or --on vm may tell more"
Say = Callable[[str], None]


def frozen(image: Image, say: Say) -> Path:
    """The guest as it is when it has booted and loaded everything: a file in a folder beside the
    image, where more may be kept for this version of the program."""
    place = image.kernel.with_name(f"frozen-{image.digest}")
    if place.exists() and not _whole(place):
        say(f"bench virtual: {place} is damaged: made anew")
        shutil.rmtree(place)
    if not place.exists():
        booted = _booted(image, say)
        say("bench virtual: a guest loads this version of the program …")
        with _running(image, {}, _LATER, image.sources.read_bytes()) as guest:
            guest.go_on_from(booted)
            finished(place, lambda fresh: _freeze(guest, fresh))
        for name in ("frozen", "sources"):
            clear_away(place.parent.glob(f"{name}-*"))
    return place / _MOMENT


def _booted(image: Image, say: Say) -> Path:
    """The guest as it is when it has booted and has loaded what is not ours."""
    place = image.kernel.with_name("booted")
    if not _whole(place):
        shutil.rmtree(place, ignore_errors=True)
        say("bench virtual: booting a guest, once for an image …")
        with _running(image, {}, ("-initrd", str(image.base))) as guest:
            finished(place, lambda fresh: _freeze(guest, fresh))
    return place / _MOMENT


def _freeze(guest: Guest, place: Path) -> None:
    """Wait until it asks for it, and write its state into a new folder."""
    place.mkdir()
    guest.until_it_asks_for_pause()
    guest.written_to(moment := place / _MOMENT)
    (place / _SUM).write_text(_sha256(moment))


def _whole(place: Path) -> bool:
    try:
        return (place / _SUM).read_text() == _sha256(place / _MOMENT)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextmanager
def thawed(
    image: Image, moment: Path, order: Mapping[str, Any], more: tuple[str, ...] = ()
) -> Iterator[Guest]:
    """A guest that carries out an order, from where it was frozen; it is gone after the block.

    ``order``: ``call`` (module:function), ``argument`` (plain JSON), ``seed`` (text, by which
    errors name it), ``env``.
    ``more``: words for QEMU that the guest does not notice.
    """
    for used in (moment.parent, image.kernel.parent):
        os.utime(used)
    with _running(image, order, (*_LATER, *more)) as guest:
        guest.go_on_from(moment)
        yield guest


class Guest:
    """A guest that runs. ``ended`` is readable when it has switched itself off; errors call it by
    ``name``."""

    def __init__(self, folder: Path, link: socket.socket, ended: int, name: str) -> None:
        self.folder, self.ended, self._name = folder, ended, name
        with self._told():
            self._monitor = Monitor(link, BOOT_S)

    def until_it_asks_for_pause(self) -> None:
        """Wait until it has booted and loaded everything. PodwireError when it does not."""
        with self._told():
            self._monitor.until("STOP", BOOT_S)

    def written_to(self, place: Path) -> None:
        """Write its state to a file. PodwireError when there is no room."""
        try:
            with place.open("wb") as file:
                self._monitor.migrate("migrate", file.fileno(), BOOT_S)
        except Gone as gone:
            raise self.failed(str(gone), f"half a gigabyte of room in {folder()}") from gone

    def go_on_from(self, place: Path) -> None:
        """Take up the state in a file, and go on."""
        with self._told():
            with place.open("rb") as file:
                self._monitor.migrate("migrate-incoming", file.fileno(), THAW_S)
            self._monitor.ask("cont")

    def answer(self) -> Any:
        """What its function has returned, when it has ended; or the PodwireError that it raised.
        PodwireError for another error, and for a guest that ended without an answer."""
        data = (self.folder / "answers").read_bytes()
        head = len(MAGIC) + 40
        (size,) = struct.unpack_from("=Q", data, len(MAGIC)) if len(data) >= head else (0,)
        packed = data[head:]
        whole = data.startswith(MAGIC) and len(packed) == size
        if not (whole and hashlib.sha256(packed).digest() == data[head - 32 : head]):
            raise self._ended()
        found = json.loads(zlib.decompress(packed))
        if "problems" in found:
            kind: type[PodwireError] = getattr(errors, found["kind"], PodwireError)
            raise kind(*(_problem(one) for one in found["problems"]))
        if "error" in found:
            raise self.failed(found["error"].strip(), "a fault of the program: " + _THE_SAME)
        return found["answer"]

    def failed(self, found: str, remedy: str) -> PodwireError:
        """An error, with the last that the guest and QEMU have said."""
        tail = trouble.tail(self._said())
        return PodwireError(Problem(self._name, found + tail, _ANSWER, remedy))

    def _ended(self) -> PodwireError:
        """The error for a guest that has ended without an answer, in the words of its console."""
        said = self._said()
        if panic := trouble.panic(said):
            return self.failed(f"the guest's end: {panic}", _THE_SAME)
        if killed := trouble.out_of_memory(said):
            found = f"{killed}{trouble.tail(said)}"
            wanted = f"{machine.MEMORY_MIB} MiB in the guest to do"
            remedy = "a smaller cluster, or --on vm with PODWIRE_VM_MEMORY"
            return PodwireError(Problem(self._name, found, wanted, remedy))
        return self.failed("the guest ended without a whole answer", _again())

    def _said(self) -> str:
        paths = [self.folder / name for name in ("qemu", "console")]
        return "".join(one.read_text(errors="replace") for one in paths if one.exists())

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Gone as gone:
            raise self.failed(str(gone), _again()) from gone


def _again() -> str:
    return (f"try again, with room in {tempfile.gettempdir()} and on a machine that is less busy; "
            f"if it stays so, remove {folder()}: it is made anew")  # fmt: skip


def _problem(told: Any) -> Problem | str:
    return told if isinstance(told, str) else Problem(*told)


@contextmanager
def _running(
    image: Image, order: Mapping[str, Any], more: tuple[str, ...], sources: bytes = b""
) -> Iterator[Guest]:
    """A guest that is gone after the block, and with this process at the latest."""
    with tempfile.TemporaryDirectory(prefix="podwire-virtual-") as place:
        here = Path(place)
        (here / "order").write_bytes(machine.padded(json.dumps(order).encode()))
        (here / "sources").write_bytes(machine.packed(sources))
        words = machine.words(image, here)
        names = [order["seed"]] if order else []
        ours, theirs = socket.socketpair()
        output = os.open(here / "qemu", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            pid, ended = keeper.spawn(
                [*words, *more], output, theirs.fileno(), machine.surroundings(image)
            )
        finally:
            theirs.close()
            os.close(output)
        try:
            with ours:
                yield Guest(here, ours, ended, ": ".join(["bench virtual", *names]))
        finally:
            signal.pidfd_send_signal(ended, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(ended)
