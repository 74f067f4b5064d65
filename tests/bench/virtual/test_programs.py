"""Our C programs in the guest: what compiles them, from what, and where they are looked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.bench.virtual import counting, image, programs, tree
from emulator.errors import PodwireError
from emulator.place import Completed
from emulator.substrate import compiler
from experiments.bring_up import build

TOP = Path(__file__).parents[3]
ROOT = Path("/the/root")


class Parts:
    """A compiler's parts as they are called: each writes what it was called with to its output."""

    def __init__(self) -> None:
        self.called, self.fails = list[tuple[str, ...]](), ""

    def run(self, argv: list[str], *, timeout_s: float) -> Completed:
        self.called.append(tuple(argv))
        Path(argv[argv.index("-o") + 1]).write_text(Path(argv[6]).name)
        code = 1 if self.fails and self.fails in argv[6] else 0
        return Completed(tuple(argv), code, b"", b"no such thing")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    found = Parts()
    monkeypatch.setattr(programs, "run_on_host", found.run)
    return found


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with what the guest has of ours, as far as it is C."""
    for pattern in ("*.c", "*.h"):
        for part in ("emulator", "experiments"):
            for path in (TOP / part).rglob(pattern):
                there = tmp_path / "sources" / tree.SITE / path.relative_to(TOP)
                there.parent.mkdir(parents=True, exist_ok=True)
                there.write_bytes(path.read_bytes())
    return tmp_path / "sources"


def test_every_c_file_of_the_lab_is_compiled(parts: Parts, sources: Path) -> None:
    list(programs.compiled(ROOT, sources))
    read = {Path(word) for argv in parts.called for word in argv if word.endswith(".c")}
    # of the host, and of the image itself
    others = {counting.SOURCE.name, image._FW_CFG.name, image._HALTING.name}
    ours = {path for path in sources.rglob("*.c") if path.name not in others}
    assert read == ours


def test_nothing_of_this_machine_is_read_or_run(parts: Parts, sources: Path) -> None:
    list(programs.compiled(ROOT, sources))
    for argv in parts.called:
        assert argv[:3] == ("env", "-i", "LC_ALL=C")
        assert argv[3] == f"{ROOT}/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
        assert argv[6].startswith(f"{ROOT}/usr/")
        named = [word for word in argv[4:] if word.startswith(("/usr", "/lib", "-L/usr", "-I"))]
        assert named in ([], ["/lib64/ld-linux-x86-64.so.2"]), "but for the guest's own loader"
    for argv in parts.called:
        if argv[6].endswith("/cc1"):
            assert "-nostdinc" in argv


@pytest.mark.parametrize(
    "wanted",
    [*(lambda name=name: compiler.program(name) for name in compiler.PROGRAMS), build.replay,
     build.capture],
    ids=[*compiler.PROGRAMS, "replay", "capture"],
)  # fmt: skip
def test_the_guest_finds_each_where_it_looks(
    wanted: Callable[[], Path], parts: Parts, sources: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, entry in programs.compiled(ROOT, sources):
        path = tmp_path / "guest" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(entry.content)
        assert entry.mode & 0o111

    def refuse(argv: Any, **_: Any) -> Completed:
        raise AssertionError(f"{argv}: the guest has no compiler")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "guest" / "root"))
    monkeypatch.setattr(compiler, "run_on_host", refuse)
    assert wanted().read_text() == "x86_64-linux-gnu-ld.bfd"


@pytest.mark.parametrize("part", ["cc1", "as", "ld.bfd"])
def test_what_does_not_compile_is_named(part: str, parts: Parts, sources: Path) -> None:
    parts.fails = part
    with pytest.raises(PodwireError, match=rf"udp_proxy\.c: .*{part}.*no such thing"):
        list(programs.compiled(ROOT, sources))
