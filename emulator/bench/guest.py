"""The user's guest: started when it is first wanted, found by later commands, ended.

Its folder is ``.vm`` in the user's directory of labs (:mod:`emulator.substrate.runtime`): the
keeper holds the lock there, QEMU makes its sockets there, the console is written there.
"""

from __future__ import annotations

import compileall
import json
import os
import shlex
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from emulator.bench import keeper, machine
from emulator.errors import PodwireError, Problem, Unsupported
from emulator.patience import EMULATED, VARIABLE
from emulator.substrate import runtime
from emulator.substrate.host import run_on_host

FOLDER = ".vm"
BOOT_S = 420.0
"""Emulated, on a machine that is busy; 15 to 30 seconds are usual."""
_KVM_S = 10.0
Say = Callable[[str], None]


class Taken(PodwireError):
    """Another command has just begun to start the guest."""


class Guest(NamedTuple):
    """A guest that runs, or boots. ``facts``: what its machine is made of, for fingerprints."""

    folder: Path
    facts: dict[str, str]

    @property
    def console(self) -> Path:
        """What it has said on its console."""
        return self.folder / keeper.CONSOLE


def find() -> Guest | None:
    """The user's guest, or None."""
    folder = runtime.base() / FOLDER
    runtime.worlds()  # clears away what a killed one has left
    try:
        facts = json.loads((folder / "guest.json").read_text())
    except (OSError, ValueError):
        return None
    return Guest(folder, facts)


def accelerator(say: Say) -> str:
    """``kvm`` or ``tcg``: of the guest that runs, or of one that would be started.

    Unsupported when something is missing.
    """
    found = find()
    if found is not None:
        return found.facts["accelerator"]
    missing = machine.missing()
    if missing:
        raise Unsupported(*missing)
    machine.memory_mib()
    return "kvm" if _kvm(machine.kernel(), say) else EMULATED


def start(modules: Sequence[str], see: Sequence[str], say: Say) -> tuple[Guest, socket.socket]:
    """Start a guest. It ends with the socket, until a byte has been sent over that.

    ``modules`` are what the agent loads beforehand, ``see`` the folders of the host that Python
    is in. Unsupported when something is missing, Taken when another command starts one.
    """
    how = accelerator(say)
    kernel = machine.kernel()
    facts = {
        "bench": "vm",
        "accelerator": how,
        "qemu": _qemu_version(),
        "machine": machine.MACHINE,
        "cpu": machine.CPU,
        "kernel": str(kernel.image),
        "memory_mib": str(machine.memory_mib()),
    }
    try:
        folder, lock = runtime.reserve(FOLDER)
    except FileExistsError:
        raise Taken(Problem("the guest", "another command starts it", "one", "try again")) from None
    # whoever does without byte code here: the guest, which cannot keep any, needs minutes without
    compileall.compile_dir(Path(__file__).parents[1], quiet=2)
    ours, theirs = socket.socketpair()
    try:
        boot = _script(folder, kernel, modules, see, facts)
        words = machine.command(kernel, how, folder, boot)
        keeper.keep(theirs, folder, lock, words)
        whole = folder / "guest.new"
        whole.write_text(json.dumps(facts))
        whole.rename(folder / "guest.json")
    except BaseException:  # Ctrl-C too: with the socket the guest ends
        ours.close()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        theirs.close()
        os.close(lock)
    return Guest(folder, facts), ours


def end(guest: Guest, timeout_s: float = 10.0) -> None:
    """End a guest at once, with all that runs in it. PodwireError when it does not end."""
    try:
        pid = int((guest.folder / "qemu").read_text().split()[0])
        process = os.pidfd_open(pid)
    except (OSError, ValueError):
        return
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(process)
    deadline = time.monotonic() + timeout_s
    while guest.folder.exists():
        runtime.worlds()  # takes the folder away when its lock is free
        if time.monotonic() > deadline:
            raise PodwireError(
                Problem("the guest", f"process {pid} has not ended", "its end within "
                        f"{timeout_s:g} s", f"kill -9 {pid}")
            )  # fmt: skip
        time.sleep(0.02)


def _script(
    folder: Path,
    kernel: machine.Kernel,
    modules: Sequence[str],
    see: Sequence[str],
    facts: dict[str, str],
) -> str:
    """Write what the guest does once it is up; returns how its first shell comes to it."""
    lines = [
        "exec </dev/null",
        "ip link set lo up",
        # the host's cannot be written, and iperf3 maps files of which 9p gives only copies
        "mount -t tmpfs -o mode=1777 tmp /tmp",
        *_place_for_modules(kernel),
        # the real nodes of a cluster have it; the guest's bridges are ours
        "modprobe -q br_netfilter",
        # its module makes the device node, which udev would have made beforehand
        "modprobe -q tun",
    ]
    for place in sorted(see):  # what is in one of them comes after it
        lines.append(
            f"[ -d {shlex.quote(place)} ] || {{ mkdir -p {shlex.quote(place)} && "
            f"mount --bind {shlex.quote('/run/podwire-host' + place)} {shlex.quote(place)}; }}"
        )
    env = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(see),
        "PYTHONDONTWRITEBYTECODE": "1",
        VARIABLE: json.dumps(facts),
        **machine.SURROUNDINGS,
    }
    words = " ".join(f"{name}={shlex.quote(value)}" for name, value in env.items())
    agent = [sys.executable, "-m", "emulator.bench.agent", *modules]
    lines.append(f"exec env -i {words} {shlex.join(agent)}")
    script = folder / "boot.sh"
    script.write_text("\n".join(lines) + "\n")
    host = "/run/podwire-host"
    return (
        f"mkdir {host}; mount -t 9p -o trans=virtio,version=9p2000.L,access=any,msize=524288 "
        f"podwire.host {host} && sh {host}{shlex.quote(str(script))}"
    )


def _place_for_modules(kernel: machine.Kernel) -> list[str]:
    """Where the host has no folder for modules (a container has none) there is nothing that the
    guest's could be laid over, and the host's files cannot be written."""
    theirs = shlex.quote(str(kernel.root))
    own = f"/lib/modules/{kernel.version}"
    return [
        f"if [ ! -d {own}/kernel ]; then",
        f"modprobe -d {theirs} overlay",
        "mkdir -p /run/lib/upper/modules /run/lib/work",
        "lib=$(readlink -f /lib)",
        "mount -t overlay -o lowerdir=$lib,upperdir=/run/lib/upper,workdir=/run/lib/work lib $lib",
        f"ln -s {theirs}{own} {own}",
        "fi",
    ]


def _qemu_version() -> str:
    answer = run_on_host([machine.emulator(), "--version"], timeout_s=10.0)
    words = answer.stdout.decode(errors="replace").split()
    return words[3] if len(words) > 3 else "unknown"


def _kvm(kernel: machine.Kernel, say: Say) -> bool:
    """Whether guests run by KVM here: some machines open /dev/kvm, and the guest hangs.

    That verdict stands until the host boots again; anything else is tried anew.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    known = runtime.base() / ".kvm"
    with suppress(OSError, ValueError):
        seen, verdict = known.read_text().split()
        if seen == boot:
            return verdict == "works"
    say(f"bench vm: does KVM work here? ({_KVM_S:.0f} s at most)")
    code = keeper.code(machine.trial(kernel), _KVM_S)
    if code:
        say(f"bench vm: it does not: QEMU ended with code {code}")
        return False
    known.write_text(f"{boot} {'hangs' if code is None else 'works'}")
    if code is None:
        say(f"bench vm: it hangs, so guests are emulated until this machine boots again ({known})")
    return code == 0
