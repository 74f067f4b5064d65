"""A lab of plain ``ip`` commands for tests of the prober, and its program.

Run inside fresh network and mount namespaces (``plain_lab.py CASE``): it builds the case,
probes it and prints a JSON object. It shares nothing with the compiler or the substrate.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

from small_specs import small_spec

from emulator.faults import Fault
from emulator.ipam import Addressing, allocate
from emulator.matrix import compare, grid
from emulator.measure.probe import observe
from emulator.measure.whereabouts import Whereabouts, whereabouts
from emulator.oracle import Probe, predict
from emulator.oracle.breakable import fault
from emulator.spec.resolved import ResolvedSpec
from emulator.statements import statements

LIBC = ctypes.CDLL(None, use_errno=True)


def enter(ns: str) -> None:
    fd = os.open(ns if "/" in ns else f"/run/netns/{ns}", os.O_RDONLY)
    try:
        if LIBC.setns(fd, 0x40000000):
            raise OSError(ctypes.get_errno(), f"setns {ns}")
    finally:
        os.close(fd)


def flush(ns: str) -> None:
    subprocess.run(["ip", "-n", ns, "neigh", "flush", "all"], check=True, stderr=subprocess.DEVNULL)


def ip(ns: str, lines: Iterable[str]) -> None:
    command = ["ip", *(["-n", ns] if ns else []), "-batch", "-"]
    subprocess.run(command, input="\n".join(lines), text=True, check=True)


def write(ns: str, family: str = "ipv4", **values: int) -> None:
    enter(ns)
    for name, value in values.items():
        Path(f"/proc/sys/net/{family}/{name.replace('__', '/')}").write_text(str(value))


def mac(address: str) -> str:
    tail = ip_address(address).packed
    return "02:00:" + (tail if len(tail) == 4 else tail[6:8] + tail[-2:]).hex(":")


class PlainLab:
    """Builds a spec of one family at once. Ports of switches and ends of pods' cables are by
    owner's name."""

    def __init__(self, spec: ResolvedSpec, at: Addressing) -> None:
        self.spec, self.at = spec, at
        self.far: dict[tuple[str, str], tuple[str, str]] = {}
        own = [p for p in spec.pods if not p.host_network]
        routers = {r.name: r for r in spec.routers}
        names = [*(s.name for s in spec.segments), *routers]
        names += [x.name for x in (*spec.nodes, *spec.hosts)] + [p.id for p in own]
        ip("", [f"netns add {name}" for name in names])
        self.six = spec.ipv6
        self.tunnel = "flannel-v6.1" if self.six else "flannel.1"
        nodad = " nodad" if self.six else ""
        for name in names if self.six else ():
            # or the link-local addresses that the kernel makes are of no use for a second
            write(name, "ipv6", conf__all__accept_dad=0, conf__default__accept_dad=0)
        ends = [(n.name, n.interface, n.segment, at.node[n.name]) for n in spec.nodes]
        ends += [(h.name, h.interface, h.segment, at.host[h.name]) for h in spec.hosts]
        ends += [
            (r.name, f"eth{i}", s, at.router[r.name, s])
            for r in spec.routers
            for i, s in enumerate(r.segments)
        ]
        script: dict[str, list[str]] = {name: ["link set lo up"] for name in names}
        length = {s.name: s.cidr.partition("/")[2] for s in spec.segments}
        mtu = spec.links.mtu
        for segment in spec.segments:
            script[segment.name] += ["link add sw type bridge", "link set sw up"]
        pairs = []
        for name, interface, segment, address in ends:
            port = f"{name}-{interface}"
            self.far[name, interface] = (segment, port)
            pairs.append(
                f"link add {interface} netns {name} mtu {mtu} type veth "
                f"peer name {port} netns {segment} mtu {mtu}"
            )
            script[segment] += [f"link set {port} master sw up"]
            script[name] += [
                f"link set {interface} up",
                f"addr add {address}/{length[segment]} dev {interface}{nodad}",
            ]
        pod_mtu = mtu - (50 if spec.network.backend == "vxlan" else 0)
        nodes = [] if spec.network.plugin == "host" else [n.name for n in spec.nodes]
        for node in nodes:
            prefix = at.node_subnet[node].partition("/")[2]
            script[node] += [
                f"link add cni0 mtu {pod_mtu} type bridge",
                "link set cni0 up",
                f"addr add {at.gateway[node]}/{prefix} dev cni0{nodad}",
            ]
        for pod in own:
            port = f"v-{pod.id}"
            self.far[pod.id, "eth0"] = (pod.node, port)
            prefix = at.node_subnet[pod.node].partition("/")[2]
            pairs.append(
                f"link add eth0 netns {pod.id} mtu {pod_mtu} type veth "
                f"peer name {port} netns {pod.node} mtu {pod_mtu}"
            )
            script[pod.node] += [f"link set {port} master cni0 up"]
            script[pod.id] += [
                "link set eth0 up",
                f"addr add {at.pod[pod.id]}/{prefix} dev eth0{nodad}",
                f"route add default via {at.gateway[pod.node]}",
            ]
        for name, _, segment, _ in ends:
            script[name] += self._underlay_routes(name, segment)
        for node in nodes:
            script[node] += self._between_nodes(node)
        ip("", pairs)
        for name, lines in script.items():
            ip(name, lines)
        for name in (*nodes, *routers):
            write(name, ip_forward=1, conf__all__rp_filter=0, conf__default__rp_filter=0)
            if self.six:
                write(name, "ipv6", conf__all__forwarding=1)
        if dict(spec.network.options).get("ipMasq"):
            for node in nodes:
                self._masquerade(node)

    def _underlay_routes(self, name: str, segment: str) -> list[str]:
        """A route per far segment, by the router that is next on the shortest way."""
        spec, at = self.spec, self.at
        mine = next((r.segments for r in spec.routers if r.name == name), (segment,))
        if segment != mine[0]:
            return []
        via: dict[str, str] = dict.fromkeys(mine, "")
        grown = True
        while grown:
            grown = False
            for here in list(via):
                for router in spec.routers:
                    if router.name == name or here not in router.segments:
                        continue
                    for there in router.segments:
                        if there not in via:
                            via[there] = via[here] or at.router[router.name, here]
                            grown = True
        cidr = {s.name: s.cidr for s in spec.segments}
        return [f"route add {cidr[there]} via {hop}" for there, hop in via.items() if hop]

    def _between_nodes(self, node: str) -> list[str]:
        spec, at = self.spec, self.at
        if spec.network.plugin != "flannel":
            return []
        segment = {n.name: n.segment for n in spec.nodes}
        base = {name: subnet.partition("/")[0] for name, subnet in at.node_subnet.items()}
        lines, vxlan = [], spec.network.backend == "vxlan"
        if vxlan:
            dev, length = self.tunnel, 128 if self.six else 32
            # of IPv6 the kernel makes 20 bytes less of it
            lines += [
                f"link add {dev} address {mac(base[node])} mtu {spec.links.mtu - 50} "
                f"type vxlan id 1 local {at.node[node]} dev eth0 nolearning dstport 8472",
                f"link set {dev} up",
                f"addr add {base[node]}/{length} dev {dev}",
            ]
        direct = not vxlan or dict(spec.network.options).get("directRouting", False)
        for other, subnet in at.node_subnet.items():
            if other == node:
                continue
            if direct and segment[other] == segment[node]:
                lines.append(f"route add {subnet} via {at.node[other]} dev eth0")
            elif vxlan:
                lladdr = mac(base[other])
                lines += [
                    f"neigh add {base[other]} lladdr {lladdr} dev {self.tunnel} nud permanent",
                    f"route add {subnet} via {base[other]} dev {self.tunnel} onlink",
                ]
                self._fdb = getattr(self, "_fdb", [])
                self._fdb.append((node, lladdr, at.node[other]))
        return lines

    def tunnels(self) -> None:
        for node, lladdr, address in getattr(self, "_fdb", []):
            command = f"bridge -n {node} fdb append {lladdr} dev {self.tunnel} dst {address} self"
            subprocess.run(command.split(), check=True)

    def _masquerade(self, node: str) -> None:
        cluster, local = self.spec.pod_cidr, self.at.node_subnet[node]
        nft = dict(self.spec.network.options).get("enableNFTables", False)
        family, multicast = ("ip6", "ff00::/8") if self.six else ("ip", "224.0.0.0/4")
        rules = [
            f"{family} saddr {local} {family} daddr {cluster} return",
            f"{family} saddr {cluster} {family} daddr {local} return",
            f"{family} saddr != {cluster} {family} daddr {cluster if nft else local} return",
            f"{family} saddr {cluster} {family} daddr != {multicast} masquerade fully-random",
            f"{family} saddr != {cluster} {family} daddr {cluster} masquerade fully-random",
        ]
        chain = "\n".join(["type nat hook postrouting priority srcnat;", *rules])
        enter(node)
        text = f"table {family} masq {{ chain postrtg {{\n{chain}\n}}\n}}"
        subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)

    def fail(self, broken: Fault) -> None:
        """Carrier goes when the far end of a cable is set down."""
        if broken.kind == "interface":
            name, _, interface = broken.target.partition(":")
            down = [(name, interface)]
        elif broken.kind == "link":
            name, _, interface = broken.target.partition(":")
            down = [self.far[name, interface or "eth0"]]
        else:
            pods = [p.id for p in self.spec.pods if p.node == broken.target]
            down = [self.far[name, "eth0"] for name in (broken.target, *pods)]
        for ns, interface in down:
            ip(ns, [f"link set {interface} down"])


TWO_RACKS = {"nodes": ("rack-a", "rack-a", "rack-b"), "hosts": ("rack-a", "rack-b")}
VXLAN = {"plugin": "flannel", "backend": "vxlan", "ipMasq": True, **TWO_RACKS}
HOST_GW = {"plugin": "flannel", "backend": "host-gw", "ipMasq": True, "host_pods": ("n1",)}
CHAIN = {
    "segments": 3,
    "routers": (("rack-a", "rack-b"), ("rack-b", "rack-c")),
    "nodes": ("rack-a", "rack-c"),
    "hosts": ("rack-b",),
}
CASES: dict[str, tuple[dict, list[tuple[str, str]]]] = {
    "none": ({"plugin": "none", "host_pods": ("n2",)}, []),
    "host": ({"plugin": "host", "host_pods": ("n1", "n2", "n3"), **TWO_RACKS}, []),
    "vxlan": (VXLAN | {"host_pods": ("n1", "n2")}, []),
    "vxlan-no-masq": (VXLAN | {"ipMasq": False}, []),
    "vxlan-direct": (VXLAN | {"directRouting": True}, []),
    "vxlan-direct-nft": (VXLAN | {"directRouting": True, "enableNFTables": True}, []),
    "vxlan-chain-jumbo": (VXLAN | CHAIN | {"mtu": 9000}, []),
    "host-gw": (HOST_GW, []),
    "host-gw-no-masq": (HOST_GW | {"ipMasq": False}, []),
    "host-gw-nft": (HOST_GW | {"enableNFTables": True}, []),
    "uplink-cut": (VXLAN, [("link", "n1")]),
    "uplink-down": (HOST_GW, [("interface", "n1:eth0")]),
    "tunnel-down": (VXLAN | {"directRouting": True}, [("interface", "n2:flannel.1")]),
    "tunnel-down-no-masq": (VXLAN | {"ipMasq": False}, [("interface", "n1:flannel.1")]),
    "bridge-down": (HOST_GW, [("interface", "n1:cni0")]),
    "pod-cut": (VXLAN, [("link", "n1-p1"), ("interface", "n3-p2:eth0")]),
    "node-cut": (HOST_GW, [("node", "n2")]),
    "router-cut": (VXLAN, [("link", "core1:eth1")]),
    "none-ipv6": ({"plugin": "none", "host_pods": ("n2",), "families": "6"}, []),
    "vxlan-ipv6": (VXLAN | {"host_pods": ("n1", "n2"), "families": "6"}, []),
    "host-gw-no-masq-ipv6": (HOST_GW | {"ipMasq": False, "families": "6"}, []),
    "tunnel-down-ipv6": (VXLAN | {"families": "6"}, [("interface", "n2:flannel-v6.1")]),
    "uplink-down-ipv6": (HOST_GW | {"families": "6"}, [("interface", "n1:eth0")]),
}


def run_case(name: str) -> dict[str, object]:
    settings, broken = CASES[name]
    spec = small_spec(**settings)
    at = allocate(spec)
    lab = PlainLab(spec, at)
    lab.tunnels()
    faults = [fault(spec, kind, target) for kind, target in broken]
    for one in faults:
        lab.fail(one)
    predicted = predict(spec, at, faults)
    tried = {p: e for p, e in predicted.items() if e.outcome != "not-probed"}
    sizes = {p: e.mtu for p, e in tried.items()}
    observed = observe(tried, whereabouts(spec), enter, flush, sizes)
    differences = compare(predicted, observed)
    return {
        "differences": [str(d) for d in differences],
        "grid": grid(spec, predicted, observed),
        "statements": {s.number: s.holds for s in statements(spec, at, observed)},
        "delivered": sum(o.outcome == "delivered" for o in observed.values()),
        "sized": sum(o.mtu > 0 for o in observed.values()),
    }


def outcomes(families: str = "4") -> dict[str, object]:
    """One of each outcome, with the network wrong on purpose."""
    wrong = {"host_pods": (), "hosts": ("rack-a", "rack-a"), "families": families}
    spec = small_spec(**HOST_GW | wrong)
    at = allocate(spec)
    PlainLab(spec, at)
    places = whereabouts(spec) | {"ghost": Whereabouts("ghost", "ghost", "ghost")}
    # The port of the switch still sends 1500 bytes: veth drops what its peer cannot take.
    ip("out2", ["link set eth0 mtu 1400"])
    ip("n2", ["link set v-n2-p2 mtu 1400", "link set cni0 mtu 1400"])
    ip("n2-p2", ["link set eth0 mtu 1400"])
    probes = {
        "delivered": Probe("pod-pod", "n1-p1", "n2-p1", at.pod["n2-p1"]),
        "masqueraded": Probe("pod-host", "n1-p1", "out1", at.host["out1"]),
        "refused": Probe("pod-pod", "n1-p1", "n1-p2", at.gateway["n2"]),
        "lost": Probe("pod-pod", "n1-p1", "n2-p1", at.gateway["n2"] + "77"),
        "no route": Probe("pod-host", "out1", "n1", at.pod["n1-p1"]),
        "failed": Probe("pod-pod", "ghost", "n1-p1", at.pod["n1-p1"]),
        "narrow": Probe("node-remote-pod", "n1", "n2-p2", at.pod["n2-p2"]),
    }
    probes["wide"] = Probe("pod-own-node", "n1-p1", "n1", at.gateway["n1"])
    sizes = {probes["delivered"]: 1500, probes["masqueraded"]: 1500}
    probes["black hole"] = Probe("pod-host", "n1-p1", "out2", at.host["out2"])
    sizes |= {probes["black hole"]: 1500, probes["narrow"]: 1500, probes["wide"]: 1000}
    seen = observe(probes.values(), places, enter, flush, sizes)
    return {name: seen[probe]._asdict() for name, probe in probes.items()}


def full_mesh(nodes: int, pods: int, budget: int) -> dict[str, object]:
    """All pairs of a larger lab; the number of probes, of differences, and the time."""
    import time

    spec = small_spec(
        "flannel", "vxlan", nodes=["rack-a"] * nodes, pods_per_node=pods, hosts=[], ipMasq=True
    )
    at = allocate(spec)
    PlainLab(spec, at).tunnels()
    flushing = 0.0

    def timed_flush(ns: str) -> None:
        nonlocal flushing
        start = time.monotonic()
        flush(ns)
        flushing += time.monotonic() - start

    start = time.monotonic()
    predicted = {p: e for p, e in predict(spec, at).items() if p.kind == "pod-pod"}
    predicted_s = time.monotonic() - start
    sizes = {p: e.mtu for p, e in predicted.items()}
    start = time.monotonic()
    observed = observe(predicted, whereabouts(spec), enter, timed_flush, sizes, budget=budget)
    taken = time.monotonic() - start
    differences = compare(predicted, observed)
    return {
        "probes": len(predicted),
        "differences": [str(d) for d in differences],
        "predict_s": predicted_s,
        "observe_s": taken,
        "of_that_flush_s": flushing,
    }


def main() -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    Path("/run/netns").mkdir()
    case = sys.argv[1]
    if case == "outcomes":
        found = outcomes(*sys.argv[2:])
    elif case == "mesh":
        found = full_mesh(*map(int, sys.argv[2:]))
    else:
        found = run_case(case)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
