"""The image that the bench boots, and the QEMU that boots it, made from the lock and kept.

Both lie in the user's cache below a digest of the lock and of how they are made. Our own sources,
and the programs that those in C come to, are a layer of their own, for they change more often: of
ours only what fetches that layer is in the image itself. The same lock and sources are the same
bytes on every machine: the guest's own Python, run by its own loader, writes the byte code, and the
lock's own compiler the programs.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from emulator.bench.virtual import archive, package, programs, tree
from emulator.bench.virtual.archive import Entry
from emulator.bench.virtual.lock import QEMU, Lock, Role
from emulator.errors import PodwireError, Problem
from emulator.substrate import compiler
from emulator.substrate.host import run_on_host

_SOURCES: Final = (".py", ".yaml", ".sh", ".c", ".h", ".json", ".conflist")
_LEFT_OUT: Final = (
    "usr/share/doc/",
    "usr/share/man/",
    "usr/share/locale/",
    "usr/share/zoneinfo/",
)
_DIGEST: Final = "digest"
"""Beside the parts that do not change with our sources: of their bytes."""
_COMPILE_S: Final = 600.0
_MAKING: Final = ".making-"
_ROOM: Final = "bench virtual: 600 MB for its image, and as many for each frozen guest"
_KEPT: Final = 3
_NOT_BEFORE_S: Final = 3600.0
_AGAIN: Final = "free some space and memory, and try again: nothing half-made is kept"
Say = Callable[[str], None]


class Image(NamedTuple):
    """``base`` is an initramfs, ``sources`` an archive like it, ``host`` the root that QEMU is in.

    ``digest``: of everything that the guest sees and is run by, from its bytes: two machines on
    which they are the same have the same image. ``qemu``: its version, as the lock names it.
    """

    digest: str
    qemu: str
    kernel: Path
    base: Path
    sources: Path
    host: Path


def made(lock: Lock, packages: Mapping[str, Path], say: Say) -> Image:
    """The image for a lock (``packages``: that of :func:`fetch.fetched`) and today's sources."""
    place = folder() / f"{lock.digest}-{_recipe()}"
    if not place.is_dir():
        say("bench virtual: the image is made (once for a lock, about a minute) …")
        finished(place, lambda work: _base(lock, packages, work))
        clear_away(place.parent.glob("[!.]*-*"))
    place.touch()
    ours = _own_sources()
    digest = _digest(ours)
    layer = place / f"sources-{digest}.cpio"
    if not layer.exists():
        finished(layer, lambda work: _layer(ours, place, work))
    layer.touch()
    whole = hashlib.sha256(f"{(place / _DIGEST).read_text()} {digest}".encode()).hexdigest()[:16]
    (qemu,) = (one.version for one in lock.of("host") if one.name == QEMU)
    return Image(
        whole, qemu.rpartition(":")[2], place / "vmlinuz", place / "base.cpio", layer,
        place / "host",
    )  # fmt: skip


def clear_away(kept: Iterable[Path]) -> None:
    """Of versions of one thing take away those that are older than the last three, and that nobody
    has used for an hour."""
    _remove(sorted(kept, key=_used)[:-_KEPT])


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if time.time() - _used(path) > _NOT_BEFORE_S:
            shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):  # a file; or another command was faster
                path.unlink()


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another command was faster
        return 0.0


def folder() -> Path:
    """Where images are kept."""
    return compiler.cache() / "virtual"


def finished(place: Path, make: Callable[[Path], None]) -> None:
    """Make a file or folder beside its place and move it there: whole, or not at all. PodwireError
    when the disk is full."""
    place.parent.mkdir(parents=True, exist_ok=True)
    _remove(place.parent.glob(f"{_MAKING}*"))  # of commands that were killed
    try:
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=_MAKING) as work:
            fresh = Path(work) / "made"
            make(fresh)
            fresh.rename(place)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PodwireError(
                Problem(str(place.parent), f"{error.strerror}", f"room for {_ROOM}",
                        "free some space, or have the cache elsewhere: XDG_CACHE_HOME")
            ) from error  # fmt: skip
        if not place.exists():  # another command was faster otherwise
            raise


def _base(lock: Lock, packages: Mapping[str, Path], place: Path) -> None:
    place.mkdir()
    (kernel,) = lock.of("kernel")
    content = packages[kernel.sha256].read_bytes()
    for name, entry in package.files(kernel.name, content):
        if name.startswith("boot/vmlinuz-"):
            (place / "vmlinuz").write_bytes(entry.content)
    guest = tree.guest(
        ((one.name, packages[one.sha256].read_bytes()) for one in lock.of("guest")),
        (kernel.name, content),
        (packages[one.sha256].read_bytes() for one in lock.wheels),
    )
    for role in _ROOTS:
        for one in lock.of(role):
            found = dict(package.files(one.name, packages[one.sha256].read_bytes()))
            _unpack({n: e for n, e in found.items() if not n.startswith(_LEFT_OUT)}, place / role)
    _unpack(programs.LINKS, place / "compiler")
    _unpack({HALTING: programs.made(place / "compiler", _HALTING, _SHARED)}, place / "host")
    guest["opt/boot.py"] = archive.file(_BOOT.read_bytes())
    guest["opt/fw_cfg"] = programs.made(place / "compiler", _FW_CFG)
    _unpack(guest, place / "guest")
    guest |= _module_tables(place / "guest")
    guest |= _byte_code(place / "guest", place / "guest", ("usr/lib/python3.11", tree.SITE))
    with (place / "base.cpio").open("wb") as out:
        out.writelines(archive.pack(guest))
    sums = [hashlib.sha256((place / one).read_bytes()).hexdigest() for one in _BOOTED]
    sums += [one.sha256 for role in _ROOTS for one in lock.of(role)]
    (place / _DIGEST).write_text(hashlib.sha256("\n".join(sums).encode()).hexdigest())


def _module_tables(guest: Path) -> Iterator[tuple[str, Entry]]:
    """What modprobe looks modules up in; a package's scripts would write it."""
    (modules,) = (guest / "usr/lib/modules").iterdir()
    loader, *rest = tree.program(guest, "usr/bin/kmod")
    argv = [loader, "--argv0", "depmod", *rest, "-b", str(guest), modules.name]
    done = run_on_host(argv, timeout_s=_COMPILE_S)
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()
        raise PodwireError(Problem("depmod", words, "tables of the guest's modules", _AGAIN))
    for path in sorted(modules.glob("modules.*")):
        yield str(path.relative_to(guest)), archive.file(path.read_bytes())


def _layer(ours: Mapping[str, Entry], base: Path, place: Path) -> None:
    with tempfile.TemporaryDirectory(dir=place.parent) as work:
        _unpack(ours, Path(work))
        whole = {**ours, **dict(_byte_code(base / "guest", Path(work), (tree.SITE,)))}
        whole |= programs.compiled(base / "compiler", Path(work))
    with place.open("wb") as out:
        out.writelines(archive.pack(whole))


def _byte_code(guest: Path, root: Path, below: tuple[str, ...]) -> Iterator[tuple[str, Entry]]:
    """The byte code of all modules below these folders of ``root``, written there as well."""
    argv = [*tree.program(guest, tree.PYTHON), "-s", "-S", "-m", "compileall", "-q", "-j", "1"]
    argv += ["--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/"]
    # what it imports itself is not to be kept: that knows where it lay
    env = {
        "PYTHONHOME": str(guest / "usr"), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    done = run_on_host(
        ["env", "-i", *(f"{k}={v}" for k, v in env.items()), *argv,
         *(str(root / one) for one in below)],
        timeout_s=_COMPILE_S,
    )  # fmt: skip
    if done.returncode:
        words = (done.stdout + done.stderr).decode(errors="replace").strip()[-600:]
        raise PodwireError(Problem("compileall", words, "byte code of the guest's modules", _AGAIN))
    for one in below:
        for path in sorted((root / one).rglob("*.pyc")):
            yield str(path.relative_to(root)), archive.file(path.read_bytes())


def _unpack(entries: Mapping[str, Entry], root: Path) -> None:
    for name, entry in entries.items():
        path = root / name
        if stat.S_ISDIR(entry.mode):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if stat.S_ISLNK(entry.mode):
            path.symlink_to(_within(entry.content.decode(), root, path))
        else:
            path.write_bytes(entry.content)
            path.chmod(entry.mode & 0o777)


def _within(target: str, root: Path, link: Path) -> str:
    """Where a link of a root leads: to the same file of that root, never to one of the user's."""
    if not target.startswith("/"):
        return target
    inside = re.sub(r"^/(lib|lib64|bin|sbin)/", r"/usr/\1/", target)
    return os.path.relpath(f"{root}{inside}", link.parent)


def _own_sources() -> dict[str, Entry]:
    """``emulator`` and ``experiments`` as the guest sees them: without what draws."""
    top = Path(__file__).parents[3]
    names = {
        path.relative_to(top): path
        for part in ("emulator", "experiments")
        for path in sorted((top / part).rglob("*"))
        if path.suffix in _SOURCES and path.is_file()
    }
    return {
        f"{tree.SITE}/{name}": archive.file(path.read_bytes())
        for name, path in names.items()
        if not name.match("emulator/report/*") and name.name != "plots.py"
    }


def _recipe() -> str:
    """A digest of how images are made."""
    here = Path(__file__).parent
    makers = [here / f"{name}.py" for name in _MAKERS]
    texts = [one.read_bytes() for one in (*makers, _BOOT, _FW_CFG, _HALTING)]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:8]


_ROOTS: Final[tuple[Role, ...]] = ("host", "compiler")
"""Roles of the lock that have a root of their own here, which programs run in."""
HALTING: Final = "opt/halting.so"
"""Below the root of ``host``: what every guest's QEMU is started with, see ``halting.c``."""
_BOOTED: Final = ("vmlinuz", "base.cpio", f"host/{HALTING}")
_MAKERS: Final = ("archive", "image", "modules", "package", "programs", "tree")
_BOOT: Final = Path(__file__).with_name("boot.py")
_FW_CFG: Final = Path(__file__).with_name("fw_cfg.c")
_HALTING: Final = Path(__file__).with_name("halting.c")
_SHARED: Final = ("-shared", "-fPIC")


def _digest(entries: Mapping[str, Entry]) -> str:
    total = hashlib.sha256()
    for name, entry in sorted(entries.items()):
        total.update(f"{name}\0{entry.mode}\0{len(entry.content)}\0".encode() + entry.content)
    return total.hexdigest()[:16]
