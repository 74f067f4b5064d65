"""In the guest: the process that everything in it comes from, up to where our own sources begin.

It loads what is the same for all versions of Podwire, and asks to be frozen. The guest that goes on
from there finds the sources in ``fw_cfg``, unpacks them, and becomes ``inside``. Standard library
only: it is part of the image, where the project is not yet.
"""

import mmap
import os
import subprocess
import sys
import zlib
from importlib import import_module, invalidate_caches
from pathlib import Path

KEY = Path("/sys/firmware/qemu_fw_cfg/by_name/opt/podwire/sources/key")
PAUSE_PORT = 0x505
"""Of QEMU's device pvpanic, which pauses the machine."""
APIC = 0xFEE00000
"""Where the CPU's interrupt controller lies in memory."""
TIMER = 0x380
"""Its register: units of time until the timer's interrupt; 0 stops it."""
CLOCK = ((0x70, b"\x0b"), (0x71, b"\x82"))
"""Ports and values that stop the clock on the battery, which has an alarm once a day."""
COMMON = (
    "argparse", "asyncio", "concurrent.futures", "cryptography.hazmat.primitives.asymmetric.x25519",
    "ctypes", "decimal", "fractions", "graphlib", "hashlib", "http.client", "importlib.metadata",
    "ipaddress", "iperf3", "json", "mininet.net", "pydantic", "statistics", "subprocess",
    "tempfile", "uuid", "vici", "yaml",
)  # fmt: skip
"""What is loaded sooner or later. Only how long a new version takes to load depends on it."""
INSIDE = "emulator.bench.virtual.inside"


def main(modules: list[str]) -> None:
    """Load, pause, unpack, and go on as ``inside``."""
    for name in COMMON:
        import_module(name)
    pause()
    told = subprocess.run(
        ["/opt/fw_cfg", KEY.read_text().strip()], stdout=subprocess.PIPE, check=True
    )
    unpack = ["busybox", "cpio", "-i", "-d", "-u"]
    subprocess.run(unpack, input=zlib.decompress(told.stdout), cwd="/", check=True)
    del told
    invalidate_caches()
    import_module(INSIDE).main(modules)


def pause() -> None:
    """Ask for the pause, which comes with the next instruction, while no timer runs.

    A CPU that has stopped looks idle to QEMU until its main loop knows that it is to be paused; and
    where that looks first, it takes the clock on to the next timer. Which of both it does is the
    host's chance. With no timer there is nothing to go on to; then one is due at once, and with
    it the kernel sets its own again. (QEMU, softmmu/icount.c, ``icount_start_warp_timer``.)
    """
    with open("/dev/mem", "r+b", buffering=0) as memory, open("/dev/port", "r+b", 0) as port:
        registers = memoryview(mmap.mmap(memory.fileno(), mmap.PAGESIZE, offset=APIC)).cast("I")
        registers[TIMER // 4] = 0
        for at, value in CLOCK:
            os.pwrite(port.fileno(), value, at)
        os.pwrite(port.fileno(), b"\1", PAUSE_PORT)
        registers[TIMER // 4] = 1


if __name__ == "__main__":
    main(sys.argv[1:])
