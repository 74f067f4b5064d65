"""flannel's pods as we compile them, and as the binaries make them that flannel delegates to.

The conflist is what flannel's own CNI plugin hands on: ``bridge`` with ``host-local``, then
``portmap``. Compared is everything of a pod's namespace, and on the node the bridge and the
pods' ends. Names of ends and MAC addresses are random there and are mapped; offloads come from
the spec's profile here and from the kernel there, and are left out.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cni_binaries import RELEASES

from emulator import Cluster
from emulator.plan.resources import Sysctl
from emulator.spec import load

pytestmark = pytest.mark.kernel

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
FLANNEL = TOPOLOGIES / "flannel-vxlan.yaml"
CONFLIST = str(TOPOLOGIES / "conflists/flannel.conflist")


def ends(c: Cluster) -> dict[str, str]:
    """What to call the random names of the pods' ends."""
    found = re.findall(r"^n\d veth (veth\w+) peer (n\d-p\d) eth0$", c.observed(), re.M)
    return {name: f"veth-of-{pod}" for name, pod in found}


def pods_state(c: Cluster, settings: list[Sysctl]) -> list[str]:
    """Every object of pods and bridges as a line without what is random, and ``settings``."""
    names = ends(c)

    def known(text: str) -> str:
        text = re.sub(r"\bveth\w+", lambda found: names.get(found[0], found[0]), text)
        text = re.sub(r" mac [0-9a-f:]{17}", "", text)
        return re.sub(r" tso \w+ gso \w+ gro \w+$", "", text)

    lines = [
        known(line)
        for line in c.observed().splitlines()
        if re.match(r"n\d-p\d (?!sysctl)", line) or re.match(r"n\d \w+ (cni0|veth)", line)
    ]
    ours = {alias: name for name, alias in names.items()}
    for s in settings:
        path = re.sub(r"veth-of-n\d-p\d", lambda found: ours[found[0]], s.name)
        done = c.place(s.ns).run(["cat", f"/proc/sys/{path}"])
        lines.append(f"{s.ns} {s.name} = {done.stdout.decode().strip()}")
    return sorted(lines)


@pytest.mark.parametrize("release", RELEASES)
def test_compiled_and_real_pods_are_the_same_object_by_object(release: str) -> None:
    with Cluster(load(FLANNEL)) as c:
        names = ends(c)
        settings = [
            r._replace(name=re.sub(r"veth\w+", lambda found: names[found[0]], r.name))
            for entry in c.plan
            if type(r := entry.resource) is Sysctl
            and (re.match(r"n\d-p\d", r.ns) or "/cni0/" in r.name or "/veth" in r.name)
        ]
        compiled = pods_state(c, settings)
        real_ones = {"plugin": "cni", "conflist": CONFLIST, "binDir": [RELEASES[release]]}
        c.apply(load(FLANNEL, {"spec.network": real_ones}))
        assert c.verify(probes=False).good
        real = pods_state(c, settings)
        assert any("arp_notify = 1" in line for line in compiled)
        assert any(line == "n1-p1 route 10.244.0.0/16 via 10.244.1.1 dev eth0 proto boot "
                   "scope global" for line in compiled)  # fmt: skip
        assert len(compiled) > 40
        assert compiled == real
