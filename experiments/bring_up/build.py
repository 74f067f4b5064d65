"""The two small C programs, compiled once per source into the user's cache."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from emulator.errors import PodwireError, Problem, Unsupported
from emulator.substrate.host import run_on_host

HERE = Path(__file__).parent
FLAGS = ("-O2", "-Wall", "-Wextra")
SHARED = ("-shared", "-fPIC")
REMEDY = "sudo apt-get install gcc libc6-dev"


def replay() -> Path:
    """The program ``replay``. Unsupported without a compiler."""
    return _compiled("replay", ())


def capture() -> Path:
    """The library ``capture.so``, to be preloaded. Unsupported without a compiler."""
    return _compiled("capture", SHARED)


def cache() -> Path:
    """Where compiled programs lie: ``$XDG_CACHE_HOME/podwire``, mode 0700."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root) / "podwire"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PodwireError(
            Problem(str(folder), error.strerror or str(error), "a folder for compiled programs",
                    "set XDG_CACHE_HOME to a folder that can be written")
        ) from error  # fmt: skip
    return folder


def _compiled(stem: str, flags: tuple[str, ...]) -> Path:
    source = HERE / f"{stem}.c"
    digest = hashlib.sha256(source.read_bytes() + " ".join(FLAGS + flags).encode()).hexdigest()
    target = cache() / f"{stem}-{digest[:16]}{'.so' if flags else ''}"
    if target.exists():
        return target
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    argv = ("gcc", *FLAGS, *flags, "-o", str(fresh), str(source))
    try:
        ended = run_on_host(argv, timeout_s=60)
    except Unsupported as error:
        raise Unsupported(Problem("gcc", "not installed", "a C compiler", REMEDY)) from error
    if ended.returncode:
        words = ended.stderr.decode(errors="replace").strip()
        if "No such file" in words:  # a compiler without the headers of the C library
            raise Unsupported(Problem(source.name, words, "the C library's headers", REMEDY))
        raise PodwireError(Problem(source.name, words, "a program"))
    fresh.replace(target)
    return target
