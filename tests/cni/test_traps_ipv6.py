"""What is easily got wrong with IPv6: alone, and beside IPv4."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

import pytest
from plan_parts import every, interface, setting
from small_plans import plan, spec

from emulator.datapath.inet import link_local
from emulator.ipam import allocate
from emulator.plan import Plan
from emulator.plan.resources import (
    Addr,
    Fdb,
    File,
    Neigh,
    NftTable,
    Route,
    Vxlan,
)

NODES, PODS = 3, 2
DUAL = plan(nodes=NODES, pods=PODS, families="46")
SIX = plan(nodes=NODES, pods=PODS, families="6")
HOST_GW = plan(backend="host-gw", nodes=NODES, pods=PODS, families="46")
CANAL = plan("canal", nodes=NODES, pods=PODS, families="46")
NONE = plan("none", nodes=NODES, pods=PODS, families="46")
ALL = {"dual": DUAL, "ipv6": SIX, "host-gw": HOST_GW, "canal": CANAL, "none": NONE}


def test_a_link_local_address_is_what_the_kernel_makes_of_the_mac_address() -> None:
    assert link_local("ee:ee:ee:ee:ee:ee") == "fe80::ecee:eeff:feee:eeee"
    assert link_local("02:00:00:00:00:0a") == "fe80::ff:fe00:a"


@pytest.mark.parametrize("made", ALL.values(), ids=ALL)
def test_without_a_link_local_address_nobody_is_asked_for_what_is_forwarded(made: Plan) -> None:
    found = {(a.ns, a.dev) for a in every(made, Addr) if a.scope == "link"}
    wanted = {(a.ns, a.dev) for a in every(made, Addr) if ":" in a.address}
    assert found == wanted
    for a in every(made, Addr):
        if a.scope == "link":
            mac = interface(made, a.ns, a.dev).mac
            assert a.address == f"{link_local(mac)}/64"


@pytest.mark.parametrize("made", ALL.values(), ids=ALL)
def test_default_routes_of_both_families_stand_side_by_side(made: Plan) -> None:
    pod = {r.dst: r for r in every(made, Route, "n1-p1") if r.dst in ("default", "::/0")}
    assert set(pod) == ({"::/0"} if made is SIX else {"default", "::/0"})
    assert ":" in pod["::/0"].via


@pytest.mark.parametrize("made", ALL.values(), ids=ALL)
def test_nodes_and_routers_forward_in_both_families_and_pods_in_none(made: Plan) -> None:
    name = "net/ipv6/conf/all/forwarding"
    assert {setting(made, ns, name) for ns in ("n1", "n2", "core1")} == {"1"}
    assert {setting(made, ns, name) for ns in ("n1-p1", "out1")} == {"0"}


def test_a_cluster_of_ipv6_alone_has_no_address_of_ipv4_and_the_other_way_round() -> None:
    assert {":" in a.address for a in every(SIX, Addr)} == {True}
    assert {":" in r.dst for r in every(SIX, Route)} == {True}
    assert {t.family for t in every(SIX, NftTable)} == {"ip6"}
    four = plan(nodes=NODES, pods=PODS)
    assert {":" in a.address for a in every(four, Addr)} == {False}
    assert not any("ip6" in t.family for t in every(four, NftTable))


def test_which_family_is_the_primary_one_changes_no_state() -> None:
    assert plan(families="64").text() == plan(families="46").text()


def test_there_are_two_tunnels_of_one_number_each_with_a_table_of_its_family() -> None:
    vxlans = {v.name: v for v in every(DUAL, Vxlan, "n1")}
    assert set(vxlans) == {"flannel.1", "flannel-v6.1"}
    assert {(v.vni, v.port, v.learning) for v in vxlans.values()} == {(1, 8472, False)}
    assert [":" in vxlans[name].local for name in ("flannel.1", "flannel-v6.1")] == [False, True]
    for name, six in (("flannel.1", False), ("flannel-v6.1", True)):
        entries = (
            [r.dst for r in every(DUAL, Route, "n1", name)],
            [n.address for n in every(DUAL, Neigh, "n1", name)],
            [f.dst for f in every(DUAL, Fdb, "n1", name)],
        )
        for texts in entries:
            assert len(texts) == NODES - 1
            assert {":" in text for text in texts} == {six}
        assert all(r.onlink for r in every(DUAL, Route, "n1", name))


def test_the_tunnel_of_ipv6_has_one_address_of_128_bits() -> None:
    (own,) = [a for a in every(DUAL, Addr, "n1", "flannel-v6.1") if a.scope == "global"]
    assert own.address == "fd00:10:244:1::/128"


def test_pods_get_the_mtu_of_ipv4s_tunnel_and_ipv6s_own_is_20_bytes_less() -> None:
    for made in (DUAL, SIX):
        assert interface(made, "n1", "flannel-v6.1").mtu == 1430
        assert interface(made, "n1", "cni0").mtu == 1450
        assert interface(made, "n1-p1", "eth0").mtu == 1450
        (env,) = every(made, File, "n1")
        assert "FLANNEL_MTU=1450\n" in env.text
    assert interface(DUAL, "n1", "flannel.1").mtu == 1450
    assert interface(HOST_GW, "n1", "cni0").mtu == 1500


def test_the_environment_has_ipv4_first_whichever_is_the_primary_family() -> None:
    (env,) = every(plan(families="64"), File, "n1")
    assert [row.partition("=")[0] for row in env.text.splitlines()] == [
        "FLANNEL_NETWORK", "FLANNEL_SUBNET", "FLANNEL_IPV6_NETWORK", "FLANNEL_IPV6_SUBNET",
        "FLANNEL_MTU", "FLANNEL_IPMASQ",
    ]  # fmt: skip
    assert "FLANNEL_IPV6_SUBNET=fd00:10:244:1::1/64\n" in env.text


def test_multicast_of_ipv6_is_ff00() -> None:
    tables = {(t.family, t.name): t.text for t in every(DUAL, NftTable, "n1")}
    assert set(tables) == {(f, name) for f in ("ip", "ip6") for name in ("nat", "filter")}
    assert "ip6 daddr != ff00::/8 masquerade" in tables["ip6", "nat"]
    assert "224.0.0.0" not in tables["ip6", "nat"]
    assert "ip " not in tables["ip6", "nat"]
    nftables = plan(families="46", enableNFTables=True)
    names = {(t.family, t.name) for t in every(nftables, NftTable, "n1")}
    assert names == {("ip", "flannel-ipv4"), ("ip6", "flannel-ipv6")}


def test_addresses_of_pods_would_go_with_an_interface_that_is_down() -> None:
    for made in (DUAL, HOST_GW, NONE):
        assert setting(made, "n1-p1", "net/ipv6/conf/eth0/keep_addr_on_down") == "1"
        assert setting(made, "n1-p1", "net/ipv6/conf/eth0/disable_ipv6") == "0"


def test_bridged_frames_of_ipv6_meet_the_packet_filter_on_nodes_and_not_in_switches() -> None:
    name = "net/bridge/bridge-nf-call-ip6tables"
    assert setting(DUAL, "n1", name) == "1"
    assert setting(DUAL, "rack-a", name) == "0"


def test_the_gateway_of_a_routed_pod_is_a_link_local_address_that_its_node_has() -> None:
    at = allocate(spec("canal", nodes=NODES, pods=PODS, families="46")).others[0]
    for pod, address in at.pod.items():
        node = pod.partition("-")[0]
        (own,) = [a.address for a in every(CANAL, Addr, pod, "eth0") if ":" in a.address
                  and a.scope == "global"]  # fmt: skip
        assert own == f"{address}/128"
        routes = [r for r in every(CANAL, Route, pod) if ":" in r.dst]
        assert routes == [Route(pod, "::/0", "fe80::ecee:eeff:feee:eeee", "eth0")]
        (back,) = [r for r in every(CANAL, Route, node) if r.dst == f"{address}/128"]
        assert (back.via, back.scope, back.dev[:4]) == ("", "global", "cali")
        assert [a.address for a in every(CANAL, Addr, node, back.dev)] == [
            "fe80::ecee:eeff:feee:eeee/64"
        ]
        mac = interface(CANAL, pod, "eth0").mac
        assert Neigh(node, back.dev, address, mac) in every(CANAL, Neigh, node, back.dev)
        for name, value in (("proxy_ndp", "1"), ("forwarding", "1"), ("accept_ra", "0")):
            assert setting(CANAL, node, f"net/ipv6/conf/{back.dev}/{name}") == value


def test_addresses_are_in_canonical_text() -> None:
    for made in ALL.values():
        for a in every(made, Addr):
            text = a.address.partition("/")[0]
            assert str(ip_address(text)) == text
        for r in every(made, Route):
            assert not r.via or str(ip_address(r.via)) == r.via
        for f in every(made, Fdb):
            assert str(ip_address(f.dst)) == f.dst
    assert str(IPv6Address("fd00:10:244:1::")) == "fd00:10:244:1::"
