"""One test for each mistake that is easily made with pods that have no bridge."""

from __future__ import annotations

import pytest
from plan_parts import setting
from small_plans import plan, spec

from emulator.datapath.naming import calico_veth
from emulator.degrade import degraded
from emulator.faults import Fault, cables
from emulator.plan import Plan
from emulator.plan.resources import Addr, Bridge, Interface, Neigh, Route, Veth

CANAL = plan("canal", nodes=2, pods=2)
PODS = ("n1-p1", "n1-p2")
NODE_MAC = "ee:ee:ee:ee:ee:ee"


def of(made: Plan, kind: type, ns: str) -> list:  # type: ignore[type-arg]
    return [e.resource for e in made if type(e.resource) is kind and e.resource.ns == ns]


def port(pod: str) -> str:
    return calico_veth("default", pod)


def test_the_name_on_the_node_is_calicos() -> None:
    """``cali`` and sha1("<namespace>.<pod>"): 15 bytes."""
    assert calico_veth("default", "web") == "cali68caf03a5f4"
    assert calico_veth("default", "web") != calico_veth("team", "web")
    assert len(port("n1-p1")) == 15


def test_there_is_no_bridge_on_a_node() -> None:
    assert of(CANAL, Bridge, "n1") == []
    assert all(not i.master for i in of(CANAL, Interface, "n1"))


def test_all_ends_on_a_node_have_one_mac_address_and_no_address() -> None:
    ends = {i.name: i for i in of(CANAL, Interface, "n1") if i.name.startswith("cali")}
    assert set(ends) == {port(pod) for pod in PODS}
    assert {i.mac for i in ends.values()} == {NODE_MAC}
    assert not {a.dev for a in of(CANAL, Addr, "n1")} & ends.keys()
    assert {(v.name, v.peer_ns) for v in of(CANAL, Veth, "n1") if v.peer_ns in PODS} == {
        (port(pod), pod) for pod in PODS
    }


def test_a_pod_has_no_subnet_and_a_gateway_that_nobody_holds() -> None:
    (address,) = of(CANAL, Addr, "n1-p1")
    assert address.address == "10.244.1.2/32"
    to_gateway, default = of(CANAL, Route, "n1-p1")
    assert (to_gateway.dst, to_gateway.via, to_gateway.scope) == ("169.254.1.1/32", "", "link")
    assert (default.dst, default.via) == ("default", "169.254.1.1")
    holders = [e.resource for e in CANAL if type(e.resource) is Addr]
    assert not any(a.address.startswith("169.254.1.1/") for a in holders)


@pytest.mark.parametrize("pod", PODS)
def test_the_node_answers_for_the_gateway_and_at_once(pod: str) -> None:
    """proxy_arp on the pod's interface alone; the kernel would wait up to 0.8 s with it."""
    conf = f"net/ipv4/conf/{port(pod)}"
    assert setting(CANAL, "n1", f"{conf}/proxy_arp") == "1"
    assert setting(CANAL, "n1", f"net/ipv4/neigh/{port(pod)}/proxy_delay") == "0"
    assert setting(CANAL, "n1", f"{conf}/forwarding") == "1"
    assert setting(CANAL, "n1", f"{conf}/route_localnet") == "1"
    assert setting(CANAL, "n1", "net/ipv4/conf/all/proxy_arp") is None
    assert setting(CANAL, "n1", "net/ipv4/conf/eth0/proxy_arp") is None


def test_the_node_knows_each_pod_by_route_and_by_neighbour() -> None:
    routes = {r.dst: r for r in of(CANAL, Route, "n1")}
    neighbours = {n.address: n for n in of(CANAL, Neigh, "n1") if n.dev.startswith("cali")}
    for number, pod in enumerate(PODS, 2):
        address = f"10.244.1.{number}"
        route, neighbour = routes[f"{address}/32"], neighbours[address]
        assert (route.dev, route.via, route.scope, route.proto) == (port(pod), "", "link", "boot")
        (eth0,) = (i for i in of(CANAL, Interface, pod) if i.name == "eth0")
        assert (neighbour.dev, neighbour.lladdr) == (port(pod), eth0.mac)
    assert not [r for r in routes.values() if r.type == "blackhole"], "an option of Canal's"


def test_between_nodes_it_is_flannel() -> None:
    """The same tunnel, routes, rules and file, and the MTU that they leave to pods."""
    flannel = plan(nodes=2, pods=2)
    for kind in ("device", "neigh", "fdb", "nft", "file"):
        for key in (e.resource.key for e in flannel):
            if key[:2] == ("n1", kind) and "cni0" not in key[2] and "veth" not in key[2]:
                assert CANAL.get(key) == flannel.get(key), key
    mtus = {i.mtu for pod in PODS for i in of(CANAL, Interface, pod) if i.name == "eth0"}
    assert mtus == {1450}


def test_the_link_of_a_node_is_its_uplink_and_not_a_pods() -> None:
    """Without a bridge nothing but the name tells a node's own cables from those of its pods."""
    own = cables(spec("canal", nodes=2, pods=2))

    def down(*faults: Fault) -> set[tuple[str, str]]:
        found = (e.resource for e in degraded(CANAL, faults, own, {}))
        return {(r.ns, r.name) for r in found if type(r) is Interface and not r.up}

    uplink = {("rack-a", "eth2")}
    pods = {("n1", port(pod)) for pod in PODS}
    assert down(Fault("link", "n1")) == uplink
    assert down(Fault("node", "n1")) == uplink | pods
    assert down(Fault("link", "n1-p1")) == {("n1", port("n1-p1"))}
