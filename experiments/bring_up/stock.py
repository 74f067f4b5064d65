"""Stock Mininet with so many hosts, sealed in a world of its own.

Nothing of Mininet is changed. But it raises sysctls for the whole machine, and its bridges
and the host ends of its links lie in the namespace that it was started in; so it runs in
a world like a lab's, where ``/proc/sys`` cannot be written. It then warns that it could not
raise limits and goes on (the limits that it wants are above ours, and 550 hosts need none).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mininet.link import Link
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.node import Host
from mininet.nodelib import LinuxBridge
from mininet.topo import Topo

from emulator.errors import PodwireError, Problem, Unsupported
from emulator.substrate import libc
from emulator.substrate.runtime import World
from experiments.bring_up import sealed

PORTS = 1000
"""Hosts on one switch: a Linux bridge takes 1023 ports."""

_SYSCTLS = Path("/proc/sys")
_OF_THEIR_OWN_ACCORD = frozenset({"kernel/ns_last_pid", "kernel/random/uuid"})


@contextmanager
def mininet(hosts: int) -> Iterator[tuple[World, dict[str, Any]]]:
    """Stock Mininet with ``hosts`` hosts on Linux bridges; inside, it is up.

    Yields the world and ``{"seconds"}``, the time of constructor and start. The word ``down``
    gives ``{"seconds"}`` of its ``stop``. Unsupported where Mininet's programs are missing.
    """
    before = sysctls()

    def body() -> tuple[dict[str, Any], Callable[[], sealed.Facts]]:
        _shield()
        return _build(hosts)

    with sealed.world("bring-up-mininet", body) as (place, facts):
        yield place, facts
    changed = differences(before, sysctls())
    if changed:
        raise PodwireError(
            Problem("stock Mininet", f"changed sysctls of the host: {', '.join(changed)}", "none")
        )


class Hosts(Topo):  # type: ignore[misc]
    """Hosts on switches of up to PORTS ports, the switches in a row."""

    def build(self, hosts: int) -> None:
        """Mininet calls it with what the constructor was given."""
        switches: list[str] = []
        for number in range(hosts):
            if number % PORTS == 0:
                switches.append(self.addSwitch(f"s{len(switches) + 1}"))
                if len(switches) > 1:
                    self.addLink(switches[-2], switches[-1])
            self.addLink(self.addHost(f"h{number + 1}"), switches[-1])


def _shield() -> None:
    libc.mount(str(_SYSCTLS), str(_SYSCTLS), "", libc.MS_BIND)
    libc.make_read_only(str(_SYSCTLS))


def _build(hosts: int) -> tuple[dict[str, Any], Callable[[], sealed.Facts]]:
    setLogLevel("error")
    begun = time.perf_counter()
    try:
        net = Mininet(
            topo=Hosts(hosts), switch=LinuxBridge, host=Host, link=Link, controller=None,
            waitConnected=False,
        )  # fmt: skip
        net.start()
    except SystemExit as error:  # so it ends where brctl, mnexec or ifconfig are missing
        raise Unsupported(
            Problem("stock Mininet", f"it gave up with {error.code}", "its programs",
                    "sudo apt-get install mininet bridge-utils net-tools")
        ) from error  # fmt: skip
    took = time.perf_counter() - begun

    def down() -> sealed.Facts:
        begun = time.perf_counter()
        net.stop()
        return {"seconds": time.perf_counter() - begun}

    return {"seconds": took, "links": len(net.links)}, down


def sysctls(root: Path = _SYSCTLS) -> dict[str, str]:
    """Every sysctl that could be set and can be read, by its name with slashes."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            key = str(path.relative_to(root))
            try:
                if path.stat().st_mode & 0o200 and key not in _OF_THEIR_OWN_ACCORD:
                    found[key] = path.read_text(errors="replace")
            except OSError:
                continue  # some can only be written, and interfaces may go meanwhile
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What differs, as ``name: old, now new``."""
    return [
        f"{name}: {before.get(name, 'absent').strip()}, now {after.get(name, 'absent').strip()}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
