"""The image's name is that of its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from emulator.bench.virtual import archive, image, lock
from emulator.bench.virtual.archive import Entry
from emulator.bench.virtual.image import Image

OURS = {"opt/podwire/a.py": archive.file(b"a = 1\n"), "opt/podwire/b.py": archive.file(b"")}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Parts that are made in no time, and how often each was."""
    count = {"base": 0, "layer": 0}

    def base(locked: object, packages: object, place: Path) -> None:
        count["base"] += 1
        place.mkdir()
        (place / "digest").write_text("of the base")

    def layer(ours: Mapping[str, Entry], guest: Path, place: Path) -> None:
        count["layer"] += 1
        place.touch()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(image, "_base", base)
    monkeypatch.setattr(image, "_layer", layer)
    return count


def of(ours: Mapping[str, Entry], monkeypatch: pytest.MonkeyPatch) -> Image:
    monkeypatch.setattr(image, "_own_sources", lambda: ours)
    return image.made(lock.read(), {}, lambda text: None)


def test_the_same_sources_are_the_same_image(
    made: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = of(OURS, monkeypatch)
    assert of(dict(reversed(OURS.items())), monkeypatch) == first
    assert made == {"base": 1, "layer": 1}
    assert len(first.digest) == 16 and first.qemu.startswith("7.2")


@pytest.mark.parametrize(
    "other",
    [
        {**OURS, "opt/podwire/b.py": archive.file(b" ")},
        {**OURS, "opt/podwire/b.py": archive.file(b"", executable=True)},
        {**OURS, "opt/podwire/c.py": archive.file(b"")},
        {"opt/podwire/b.py": OURS["opt/podwire/a.py"], "opt/podwire/a.py": archive.file(b"")},
        {"opt/podwire/a.py": OURS["opt/podwire/a.py"]},
    ],
)
def test_one_byte_more_is_another(
    made: dict[str, int], monkeypatch: pytest.MonkeyPatch, other: Mapping[str, Entry]
) -> None:
    first, second = of(OURS, monkeypatch), of(other, monkeypatch)
    assert first.digest != second.digest and first.sources != second.sources
    assert first.base == second.base
    assert made == {"base": 1, "layer": 2}


def test_another_base_is_another_image(
    made: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = of(OURS, monkeypatch)
    (first.base.parent / "digest").write_text("of another")
    assert of(OURS, monkeypatch).digest != first.digest


def test_our_own_sources_are_what_can_be_run_and_no_caches() -> None:
    found = image._own_sources()
    assert "opt/podwire/emulator/bench/virtual/inside.py" in found
    assert "opt/podwire/experiments/overlay_vs_routed/topology.yaml" in found
    assert not [name for name in found if "__pycache__" in name or name.endswith(".md")]
    assert not [name for name in found if "/report/" in name or name.endswith("/plots.py")]


@pytest.mark.parametrize(
    "target",
    ["/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6", "libc.so.6",
     "../x86_64-linux-gnu/libc.so.6"],
)  # fmt: skip
def test_a_link_of_a_root_leads_to_that_roots_own_file(target: str, tmp_path: Path) -> None:
    """The user's machine has files of the same names."""
    where = "usr/lib/x86_64-linux-gnu"
    image._unpack(
        {f"{where}/libc.so": archive.link(target), f"{where}/libc.so.6": archive.file(b"ours")},
        tmp_path,
    )
    assert (tmp_path / where / "libc.so").resolve() == tmp_path / where / "libc.so.6"
