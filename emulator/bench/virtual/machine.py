"""The computer of the bench: one CPU, whose clock counts its instructions, and no disk.

Nothing in it completes in the host's time.  It reads its order from ``fw_cfg`` and writes to
serial ports, which are both done within an instruction, and asks to be stopped at a port of
``pvpanic``. (QEMU, docs/devel/tcg-icount.rst, docs/specs/fw_cfg.rst, docs/specs/pvpanic.rst.)
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Final

from emulator.bench.machine import CPU, MACHINE
from emulator.bench.virtual.image import HALTING, Image
from emulator.bench.virtual.tree import program

MEMORY_MIB: Final = 1024
BORN: Final = "2026-01-01T00:00:00"
"""What the guest takes for now when it boots."""
ORDER: Final = "opt/podwire/order"
ORDER_B: Final = 1 << 16
"""Of the file of that name, always: the guest knows its length from when it booted."""
SOURCES: Final = "opt/podwire/sources"
"""Likewise, for the guest that loads our own sources; see :func:`packed`."""
QMP_FD: Final = 3
KERNEL: Final = (
    "console=ttyS0", "quiet", "panic=-1", "nokaslr", "norandmaps", "random.trust_cpu=off",
    "tsc=reliable", "mitigations=off", "iomem=relaxed", "rdinit=/init",
)  # fmt: skip
"""``mitigations=off``: this model of a CPU needs detours in the kernel that today's do not.
``iomem=relaxed``: ``boot`` stops the CPU's timer."""


def words(image: Image, place: Path) -> list[str]:
    """QEMU's command line, with its files in a folder ``place``: ``order`` and ``sources`` are
    read, ``console`` and ``answers`` written. What it says for itself goes over ``QMP_FD``."""
    root = image.host
    return [
        *program(root, "usr/bin/qemu-system-x86_64"),
        "-L", str(root / "usr/share/qemu"), "-L", str(root / "usr/share/seabios"),
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off",
        "-machine", f"{MACHINE},hpet=off,usb=off", "-cpu", CPU, "-smp", "1", "-m", f"{MEMORY_MIB}",
        "-rtc", f"base={BORN},clock=vm",
        "-kernel", str(image.kernel), "-append", " ".join(KERNEL),
        "-serial", f"file:{place / 'console'}", "-serial", f"file:{place / 'answers'}",
        "-device", "pvpanic", "-action", "panic=pause",
        "-plugin", str(root / HALTING).replace(",", ",,"),
        "-fw_cfg", f"name={ORDER},file={place / 'order'}",
        "-fw_cfg", f"name={SOURCES},file={place / 'sources'}",
        "-chardev", f"socket,id=qmp,fd={QMP_FD}", "-mon", "chardev=qmp,mode=control",
    ]  # fmt: skip


def facts(image: Image) -> dict[str, str]:
    """What the guest is told of its bench, as in ``emulator.harness.bench``."""
    return {
        "bench": "virtual", "accelerator": "icount", "qemu": image.qemu, "machine": MACHINE,
        "cpu": CPU, "image": image.digest,
    }  # fmt: skip


def surroundings(image: Image) -> dict[str, str]:
    """QEMU's environment: where its own modules are."""
    return {"QEMU_MODULE_DIR": str(image.host / "usr/lib/x86_64-linux-gnu/qemu")}


def padded(order: bytes) -> bytes:
    """An order as long as every order. ValueError for one that is longer."""
    if len(order) > ORDER_B:
        raise ValueError(f"an order of {len(order)} bytes: at most {ORDER_B}")
    return order + bytes(ORDER_B - len(order))


def packed(sources: bytes) -> bytes:
    """Our own sources as the guest's ``fw_cfg`` program reads them: length, then content."""
    content = zlib.compress(sources, 6)
    return struct.pack("<Q", len(content)) + content
