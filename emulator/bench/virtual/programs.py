"""Our own C programs, compiled for the guest by the compiler of the lock.

The compiler's driver would start whatever this machine has under the names of its parts. So the
parts are called one by one, each by the lock's own loader, with all that they read below the
lock's root: nothing of the user's distribution comes in, and two makings are the same bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from emulator.bench.virtual import archive, tree
from emulator.bench.virtual.archive import Entry, link
from emulator.errors import PodwireError, Problem
from emulator.substrate import compiler
from emulator.substrate.host import run_on_host

LINKS: Final[Mapping[str, Entry]] = {
    "lib": link("usr/lib"), "lib64": link("usr/lib64"),
}  # fmt: skip
"""Of the compiler's root: what its linker looks for there."""
EXPERIMENTS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("experiments/bring_up/replay.c", ()),
    ("experiments/bring_up/capture.c", ("-shared", "-fPIC")),
)
"""What experiments compile, by path and flags; the rest is ``compiler.PROGRAMS``."""
CACHE: Final = "root/.cache/podwire"
"""Of the guest: where :func:`compiler.compiled` looks before it compiles."""
_GCC: Final = "usr/lib/gcc/x86_64-linux-gnu/12"
_LIBRARIES: Final = "usr/lib/x86_64-linux-gnu"
_LOADER: Final = "/lib64/ld-linux-x86-64.so.2"
_PATIENCE_S: Final = 120.0


def compiled(root: Path, sources: Path) -> Iterator[tuple[str, Entry]]:
    """Names and entries of all programs in the guest. ``root``: the compiler's; ``sources``: a
    folder that has the guest's ``opt/podwire``. PodwireError for what does not compile."""
    ours = [compiler.source(name) for name in compiler.PROGRAMS]
    top = Path(__file__).parents[3]
    every = [(str(path.relative_to(top)), flags) for path, flags in ours] + list(EXPERIMENTS)
    for path, flags in every:
        source = sources / tree.SITE / path
        yield f"{CACHE}/{compiler.file_name(source, flags)}", made(root, source, flags)


def made(root: Path, source: Path, flags: Sequence[str] = ()) -> Entry:
    """What a C file comes to. ``root``: the compiler's. PodwireError if it does not compile."""
    with tempfile.TemporaryDirectory() as work:
        return archive.file(_compiled(root, source, flags, Path(work)), executable=True)


def _compiled(root: Path, source: Path, flags: Sequence[str], work: Path) -> bytes:
    text, parts, made = work / "text.s", work / "parts.o", work / "made"
    shared = "-shared" in flags
    own = [one for one in flags if one != "-shared"]
    if not shared:
        own.append("-fPIE")
    found = (f"{_GCC}/include", "usr/local/include", "usr/include/x86_64-linux-gnu", "usr/include")
    includes = [word for one in found for word in ("-isystem", str(root / one))]
    _run(root, source, f"{_GCC}/cc1", [
        "-quiet", "-nostdinc", *includes, f"-ffile-prefix-map={source.parent}=.", *compiler.FLAGS,
        *own, str(source), "-o", str(text),
    ])  # fmt: skip
    _run(root, source, "usr/bin/x86_64-linux-gnu-as", ["--64", str(text), "-o", str(parts)])
    libraries = root / _LIBRARIES
    kind = (
        ["-shared"] if shared else ["-pie", "-dynamic-linker", _LOADER, str(libraries / "Scrt1.o")]
    )
    _run(root, source, "usr/bin/x86_64-linux-gnu-ld.bfd", [
        f"--sysroot={root}", "-m", "elf_x86_64", "--hash-style=gnu", "--eh-frame-hdr", "-s", *kind,
        str(libraries / "crti.o"), str(root / _GCC / "crtbeginS.o"), f"-L{libraries}",
        f"-L{root / _GCC}", str(parts), *compiler.libraries(flags), "-lc", "-lgcc",
        str(root / _GCC / "crtendS.o"), str(libraries / "crtn.o"), "-o", str(made),
    ])  # fmt: skip
    return made.read_bytes()


def _run(root: Path, source: Path, name: str, words: Sequence[str]) -> None:
    done = run_on_host(
        ["env", "-i", "LC_ALL=C", *tree.program(root, name), *words], timeout_s=_PATIENCE_S
    )
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()[-600:]
        raise PodwireError(
            Problem(f"{source.name}: {Path(name).name}", said, "a program of the guest",
                    "it has to compile with gcc 12 of Debian 12")
        )  # fmt: skip
