"""What the guest is made of, and what is said where a part is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.bench import machine, trouble
from emulator.bench.guest import Guest
from emulator.errors import Unsupported


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of kernels, empty; none is chosen."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("PODWIRE_VM_KERNEL", raising=False)
    return tmp_path / "podwire" / "kernels"


def unpack(kernels: Path, version: str, modules: bool = True) -> Path:
    root = kernels / f"linux-image-{version}"
    (root / "boot").mkdir(parents=True)
    image = root / "boot" / f"vmlinuz-{version}"
    image.write_bytes(b"")
    if modules:
        (root / "lib" / "modules" / version / "kernel").mkdir(parents=True)
    return image


def test_the_newest_unpacked_kernel_is_taken(kernels: Path) -> None:
    for version in ("6.1.0-9-amd64", "6.1.0-56-amd64", "6.1.0-48-amd64"):
        unpack(kernels, version)
    assert machine.kernel().version == "6.1.0-56-amd64"


def test_one_may_be_chosen(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = unpack(kernels, "6.12.9-mine")
    monkeypatch.setenv("PODWIRE_VM_KERNEL", str(image))
    assert machine.kernel() == machine.Kernel(image, "6.12.9-mine")


def test_a_kernel_that_is_not_there(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_VM_KERNEL", "/nowhere/vmlinuz-1")
    with pytest.raises(Unsupported, match=r"No such file.*\n.*make vm-bench"):
        machine.kernel()


def test_a_kernel_without_modules(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_VM_KERNEL", str(unpack(kernels, "6.1.0-9-amd64", modules=False)))
    with pytest.raises(Unsupported, match="no modules"):
        machine.kernel()


def test_no_qemu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = [str(problem) for problem in machine.missing()]
    assert any("no qemu-system-x86_64" in one and "make vm-bench" in one for one in said)
    assert any("busybox" in one for one in said)
    assert any("no program file" in one for one in said)


@pytest.mark.parametrize("text", ["much", "-1", "100"])
def test_memory_that_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_VM_MEMORY", text)
    with pytest.raises(Unsupported, match="PODWIRE_VM_MEMORY"):
        machine.memory_mib()


def test_a_guest_that_has_ended_is_told_by_its_console(tmp_path: Path) -> None:
    guest = Guest(tmp_path, {})
    guest.console.write_text("\n".join(f"line {i}" for i in range(30)))
    assert "| line 29" in str(trouble.ended(guest))
    assert "line 9\n" not in str(trouble.ended(guest))
    guest.console.write_text("x\nKernel panic - not syncing: sysrq triggered crash\n")
    assert "its kernel panicked" in str(trouble.ended(guest))
    guest.console.unlink()
    assert "podwire vm up starts another" in str(trouble.ended(guest))


def test_machine_and_cpu_are_pinned() -> None:
    """An alias such as q35 is another machine in every version of QEMU."""
    words = machine.devices("tcg")
    assert words[words.index("-machine") + 1].rpartition("-")[2][0].isdigit()
    assert words[words.index("-cpu") + 1] not in ("max", "host", "qemu64")
