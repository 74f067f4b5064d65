"""Our own C programs, compiled once per source into the user's cache.

Those of the folder ``programs`` are daemons of a lab: a plan names them as it names any program
that is installed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from emulator.errors import PodwireError, Problem, Unsupported
from emulator.substrate.host import run_on_host

PROGRAMS = {"udp-proxy": "udp_proxy.c", "sleeve": "sleeve.c", "sleeve-nacl": "sleeve.c"}
"""The daemons, by the name under which a plan runs them."""

_FLAGS_OF = {"sleeve-nacl": ("-DNACL",)}
_LIBRARIES = {"-DNACL": ("-lsodium",)}
"""What a flag asks the linker for."""
_HEADERS = {"sodium.h": "libsodium-dev"}
"""The package of each header that is not the C library's own."""

_FOLDER = Path(__file__).parent / "programs"
FLAGS = ("-O2", "-Wall", "-Wextra")
"""Of every program."""
_REMEDY = "sudo apt-get install gcc libc6-dev"


def program(name: str) -> Path:
    """One of ``PROGRAMS``, compiled if it is not. Unsupported without a compiler."""
    return compiled(*source(name))


def opened(name: str) -> int:
    """A descriptor to execute one of ``PROGRAMS`` by, wherever its path does not exist.

    OSError where it has not been compiled.
    """
    return os.open(_target(*source(name)), os.O_RDONLY | os.O_CLOEXEC)


def source(name: str) -> tuple[Path, tuple[str, ...]]:
    """The C file of one of ``PROGRAMS``, and its flags."""
    return _FOLDER / PROGRAMS[name], _FLAGS_OF.get(name, ())


def libraries(flags: Sequence[str]) -> tuple[str, ...]:
    """What the linker is told where a program has these flags."""
    return tuple(one for flag in flags for one in _LIBRARIES.get(flag, ()))


def compiled(source: Path, flags: Sequence[str] = ()) -> Path:
    """What a C file with the headers beside it comes to. Unsupported without a compiler."""
    made_cache()
    target = _target(source, flags)
    if target.exists():
        return target
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    argv = ("gcc", *FLAGS, *flags, "-o", str(fresh), str(source), *libraries(flags))
    try:
        ended = run_on_host(argv, timeout_s=60)
    except Unsupported as error:
        raise Unsupported(Problem("gcc", "not installed", "a C compiler", _REMEDY)) from error
    if ended.returncode:
        words = ended.stderr.decode(errors="replace").strip()
        for header, package in _HEADERS.items():
            if f"{header}: No such file" in words:
                remedy = f"sudo apt-get install {package}"
                raise Unsupported(Problem(source.name, f"no {header}", package, remedy))
        if "No such file" in words:  # a compiler without the headers of the C library
            raise Unsupported(Problem(source.name, words, "the C library's headers", _REMEDY))
        raise PodwireError(Problem(source.name, words, "a program"))
    fresh.replace(target)
    return target


def cache() -> Path:
    """Where compiled programs lie: ``$XDG_CACHE_HOME/podwire``."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "podwire"


def made_cache() -> Path:
    """The folder of :func:`cache`, made if it is missing. PodwireError."""
    folder = cache()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PodwireError(
            Problem(str(folder), error.strerror or str(error), "a folder for compiled programs",
                    "set XDG_CACHE_HOME to a folder that can be written")
        ) from error  # fmt: skip
    return folder


def _target(source: Path, flags: Sequence[str]) -> Path:
    return cache() / file_name(source, flags)


def file_name(source: Path, flags: Sequence[str]) -> str:
    """Of the program in the cache, for these sources and flags; other sources have their own."""
    digest = hashlib.sha256(" ".join((*FLAGS, *flags)).encode())
    for part in (source, *sorted(source.parent.glob("*.h"))):
        digest.update(part.read_bytes())
    suffix = ".so" if "-shared" in flags else ""
    return f"{source.stem}-{digest.hexdigest()[:16]}{suffix}"
