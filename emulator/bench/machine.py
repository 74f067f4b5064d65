"""The guest's hardware and kernel: what is pinned, and how QEMU is told.

Machine type and CPU model are fixed, so that the same kernel sees the same machine on every
host; the kernel is a stock one of the distribution, in the newest build that is there. All of it
is in the fingerprint of what is measured.
"""

from __future__ import annotations

import glob
import os
import platform
import re
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from emulator.errors import PodwireError, Problem, Unsupported
from emulator.substrate.host import run_on_host

MACHINE = "pc-q35-7.2"
"""A versioned type: ``q35`` alone means another machine in every QEMU. (Debian 12 has 7.2.)"""
CPU = "Nehalem"
"""The oldest model that today's binary packages of Python run on."""
SURROUNDINGS = {"OPENBLAS_CORETYPE": CPU}
"""NumPy's OpenBLAS takes every CPU of that family for one with AVX, and dies of it."""
PORTS = 8
"""How many commands may run in the guest at once."""
HOW = "make vm-bench installs QEMU and unpacks a kernel into your cache"
_STOCK = re.compile(r"vmlinuz-(\d+)\.(\d+)\.(\d+)-(\d+)-(amd64|generic)")


class Kernel(NamedTuple):
    """A kernel image, with its modules below ``lib/modules`` of the same root."""

    image: Path
    version: str

    @property
    def root(self) -> Path:
        """The folder that it is unpacked in: ``/`` where it is installed."""
        return self.image.parent.parent


def memory_mib() -> int:
    """The guest's memory. SpecError-like words come from QEMU when it cannot be had."""
    text = os.environ.get("PODWIRE_VM_MEMORY", "2048")
    if not text.isdecimal() or int(text) < 512:
        raise Unsupported(
            Problem("PODWIRE_VM_MEMORY", repr(text), "mebibytes, at least 512", "2048 is usual")
        )
    return int(text)


def kernels() -> Path:
    """Where ``make vm-bench`` unpacks kernels."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "podwire" / "kernels"


def kernel() -> Kernel:
    """The kernel to boot: that of ``PODWIRE_VM_KERNEL``, the newest unpacked one, or the newest
    stock one of this machine that can be read. Unsupported when there is none."""
    chosen = os.environ.get("PODWIRE_VM_KERNEL")
    if chosen:
        image = Path(chosen).absolute()
        version = image.name.partition("-")[2]
        return _with_modules(image, version, "PODWIRE_VM_KERNEL")
    for pattern in (str(kernels() / "*" / "boot" / "vmlinuz-*"), "/boot/vmlinuz-*"):
        found = [
            (tuple(map(int, match.groups()[:4])), Path(path))
            for path in glob.glob(pattern)
            if (match := _STOCK.fullmatch(os.path.basename(path))) and os.access(path, os.R_OK)
        ]
        if found:
            image = max(found)[1]
            return _with_modules(image, image.name.partition("-")[2], str(image))
    raise Unsupported(
        Problem(
            "bench vm",
            f"no kernel for the guest in {kernels()} or /boot",
            "a stock kernel that can be read",
            HOW,
        )
    )


def _with_modules(image: Path, version: str, place: str) -> Kernel:
    try:
        with image.open("rb"):
            pass
    except OSError as error:
        raise Unsupported(
            Problem(f"{place}: {image}", error.strerror or "", "a kernel image to read", HOW)
        ) from error
    chosen = Kernel(image, version)
    modules = chosen.root / "lib" / "modules" / version
    if not (modules / "kernel").is_dir():
        raise Unsupported(Problem(str(modules), "no modules", f"those of {image.name}", HOW))
    return chosen


def missing() -> list[Problem]:
    """What the bench lacks here; empty when it can be tried."""
    wanted = "what bench vm is made of"
    found = []
    if platform.machine() != "x86_64":
        found.append(
            Problem("bench vm", platform.machine(), "x86_64", "its guest is a PC: run it on one")
        )
    if not emulator():
        found.append(Problem("bench vm", "no qemu-system-x86_64", wanted, HOW))
    if not (busybox := shutil.which("busybox")):
        found.append(Problem("bench vm", "no busybox", "the guest's first program", HOW))
    elif not _static(busybox):
        found.append(
            Problem("bench vm", f"{busybox}, which needs libraries", "one that needs none, since "
                    "it is alone in the guest's initramfs", "apt-get install busybox-static")
        )  # fmt: skip
    if not shutil.which("file"):
        found.append(Problem("bench vm", "no program file", "virtme-ng asks it", HOW))
    if find_spec("virtme") is None:
        found.append(Problem("bench vm", "no virtme-ng", wanted, "pip install virtme-ng"))
    try:
        kernel()
    except Unsupported as error:
        found += [problem for problem in error.problems if isinstance(problem, Problem)]
    return found


def _static(program: str) -> bool:
    """Whether the kernel starts it without an interpreter; what cannot be read is let pass."""
    try:
        head = Path(program).read_bytes()[:4096]
    except OSError:
        return True
    return b"/ld-linux" not in head


def emulator() -> str:
    """The path of QEMU; empty when it is not installed."""
    return shutil.which("qemu-system-x86_64") or ""


def command(chosen: Kernel, accelerator: str, folder: Path, boot: str) -> list[str]:
    """QEMU's command line. ``boot`` is what the guest's first shell does; ``folder`` gets the
    initramfs, and is the working directory in which QEMU makes the sockets ``port-N``.

    It is virtme-ng that puts it together: the initramfs with the modules that lead to the root
    file system, the host's files as that root, a first process. Without what the kernel does
    against flaws of CPUs, which this one does not have, it is a tenth faster. PodwireError when it
    does not.
    """
    initramfs = folder / "initramfs"
    asked = [
        sys.executable, "-m", "virtme.commands.run", "--dry-run", "--show-command",
        "--save-initramfs", str(initramfs), "--name", "podwire", "--mods=auto",
        "--kimg", str(chosen.image), "--disable-kvm", "--force-9p", "--cpus", "1",
        "--memory", f"{memory_mib()}M", "--user", "root", "--show-boot-console",
        "--kopt", "nokaslr", "--kopt", "loglevel=4", "--kopt", "mitigations=off",
        "--script-sh", boot,
    ]  # fmt: skip
    # a file for the exit code of the script is made where temporary files are
    answer = run_on_host(asked, timeout_s=60, env={"TMPDIR": str(folder)})
    words = shlex.split(answer.stdout.decode().strip().rpartition("\n")[2])
    if answer.returncode or "-initrd" not in words:
        raise PodwireError(
            Problem("virtme-ng", answer.stderr.decode(errors="replace").strip() or str(words),
                    "a command line for QEMU", "pip install --upgrade virtme-ng")
        )  # fmt: skip
    words[words.index("-initrd") + 1] = initramfs.name
    return words + devices(accelerator)


def devices(accelerator: str) -> list[str]:
    """What QEMU is told beyond virtme-ng's words; of an option given twice the later counts."""
    words = [
        "-machine", MACHINE, "-cpu", CPU,
        "-accel", "tcg,thread=multi" if accelerator == "tcg" else accelerator,
        "-fsdev", "local,id=podwire,path=/,security_model=none,multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=podwire,mount_tag=podwire.host",
        "-device", f"virtio-serial-pci,id=podwire,max_ports={PORTS + 1}",
    ]  # fmt: skip
    for number in range(PORTS):
        words += [
            "-chardev", f"socket,id=podwire{number},path=port-{number},server=on,wait=off",
            "-device", f"virtserialport,bus=podwire.0,chardev=podwire{number},"
            f"name=podwire.{number}",
        ]  # fmt: skip
    return words


def trial(chosen: Kernel) -> list[str]:
    """A guest that ends by itself within a second where KVM works: it has no root to mount."""
    return [
        emulator(), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", MACHINE, "-accel", "kvm", "-cpu", CPU, "-m", "256",
        "-kernel", str(chosen.image), "-append", "panic=-1 quiet",
    ]  # fmt: skip
