"""One test for each mistake that is easily made where pods' packets are encrypted."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network

import pytest
from plan_parts import every, interface, setting
from small_plans import plan, spec

from emulator.compile import compile_spec
from emulator.ipam import allocate
from emulator.plan import Plan
from emulator.plan.resources import (
    Addr,
    File,
    Neigh,
    NftTable,
    Route,
    Rule,
    Wireguard,
    WireguardPeer,
)
from emulator.secrets import Secrets, words

RACKS = ("rack-a", "rack-a", "rack-b")
FLANNEL = plan(backend="wireguard", nodes=RACKS)
CALICO = plan("calico", "bgp", nodes=RACKS, wireguardEnabled=True)
MARK = 0x200000


def peers(made: Plan, node: str, dev: str = "") -> list[WireguardPeer]:
    return every(made, WireguardPeer, node, dev)


def test_flannel_has_one_route_and_a_peer_for_each_other_node() -> None:
    for node, own in (("n1", "1"), ("n2", "2"), ("n3", "3")):
        (route,) = (r for r in every(FLANNEL, Route, node) if r.dev == "flannel-wg")
        assert (route.dst, route.via, route.scope) == ("10.244.0.0/16", "", "link")
        found = {r.public_key: r.allowed_ips for r in peers(FLANNEL, node)}
        assert found == {
            f"{{public key: n{k} flannel}}": (f"10.244.{k}.0/24",) for k in "123" if k != own
        }
        assert not every(FLANNEL, Neigh, node), "WireGuard asks for no neighbours"


def test_flannels_endpoints_are_nodes_of_whatever_rack() -> None:
    assert {r.endpoint for r in peers(FLANNEL, "n1")} == {
        "192.168.1.12:51820",
        "192.168.2.11:51820",
    }
    (device,) = every(FLANNEL, Wireguard, "n1")
    assert (device.port, device.fwmark) == (51820, 0)


@pytest.mark.parametrize(("mtu", "left"), [(1500, 1420), (9000, 8920)])
def test_flannel_reckons_with_80_bytes_over_ipv4_too(mtu: int, left: int) -> None:
    made = plan(backend="wireguard", mtu=mtu)
    assert {interface(made, "n1", dev).mtu for dev in ("flannel-wg", "cni0")} == {left}
    assert interface(made, "n1-p1", "eth0").mtu == left
    (env,) = (f.text for f in every(made, File, "n1") if f.path.endswith("subnet.env"))
    assert f"FLANNEL_MTU={left}\n" in env


def test_flannel_separates_families_unless_it_is_told_not_to() -> None:
    separate = plan(backend="wireguard", families="46")
    assert {r.name: r.port for r in every(separate, Wireguard, "n1")} == {
        "flannel-wg": 51820,
        "flannel-wg-v6": 51821,
    }
    assert len({r.public_key for r in every(separate, Wireguard, "n1")}) == 1, "one key file"
    (six,) = peers(separate, "n1", "flannel-wg-v6")
    assert six.endpoint == "[fd00:192:168:1::c]:51821"
    for mode, endpoint in (
        ("auto", "192.168.1.12:51820"),
        ("ipv4", "192.168.1.12:51820"),
        ("ipv6", "[fd00:192:168:1::c]:51820"),
    ):
        one = plan(backend="wireguard", families="46", mode=mode)
        (peer,) = peers(one, "n1")
        assert peer.endpoint == endpoint
        assert peer.allowed_ips == ("10.244.2.0/24", "fd00:10:244:2::/64")


def test_auto_takes_ipv6_where_only_that_is_public() -> None:
    about = spec(backend="wireguard", families="46", mode="auto")
    segments = [s._replace(cidrs=(s.cidrs[0], "2a01:db9::/64")) for s in about.segments[:1]]
    made = compile_spec(about._replace(segments=(*segments, *about.segments[1:])))
    assert {r.endpoint for r in peers(made, "n1")} == {"[2a01:db9::c]:51820"}


def test_auto_asks_of_each_peer_and_of_the_node_itself() -> None:
    """IPv6 only where the peer has no public IPv4 and both have a public IPv6."""
    about = spec(backend="wireguard", families="46", mode="auto", nodes=("rack-a", "rack-b"))
    private, public = ("192.168.1.0/24", "2a01:db9::/64"), ("11.0.0.0/24", "2a01:dba::/64")
    local = ("192.168.3.0/24", "fd00:3::/64")

    def endpoints(*racks: tuple[str, str]) -> list[str]:
        named = zip(about.segments, racks, strict=True)
        made = compile_spec(about._replace(segments=tuple(s._replace(cidrs=c) for s, c in named)))
        return [r.endpoint for node in ("n1", "n2") for r in peers(made, node)]

    assert endpoints(private, public) == ["11.0.0.11:51820", "[2a01:db9::b]:51820"]
    assert endpoints(private, local) == ["192.168.3.11:51820", "192.168.1.11:51820"]


def test_no_plan_holds_a_key() -> None:
    made = plan(backend="wireguard", psk=True)
    text = made.text()
    (key,) = (f.text for f in every(made, File, "n1") if f.path == "/run/flannel/wgkey")
    assert key == "{private key: n1 flannel}"
    for lab in (Secrets(bytes(32)), Secrets(b"\1" * 32)):
        said = lab.reveal(text)
        assert said != text and lab.hide(said, words(text)) == text


def test_calico_sends_all_but_its_own_packets_through_table_1() -> None:
    for node in ("n1", "n2", "n3"):
        (rule,) = every(CALICO, Rule, node)
        (device,) = every(CALICO, Wireguard, node)
        assert (rule.priority, rule.table) == (99, 1)
        assert rule.selector == f"not from all fwmark {MARK:#x}/{MARK:#x}"
        assert device.fwmark == MARK, "or what is encrypted would be encrypted again"


def test_calico_routes_exactly_what_it_encrypts() -> None:
    """A route without a peer would be refused, a peer without a route would be passed by."""
    at = allocate(spec("calico", "bgp", nodes=RACKS, wireguardEnabled=True))
    for node in ("n1", "n2", "n3"):
        routed = {r.dst for r in every(CALICO, Route, node) if r.table == 1 and r.type == "unicast"}
        allowed = [prefix for peer in peers(CALICO, node) for prefix in peer.allowed_ips]
        assert routed == set(allowed) and len(allowed) == len(routed)
        others = [n for n in ("n1", "n2", "n3") if n != node]
        assert routed == {b for n in others for b in at.blocks[n]} | {
            f"{at.wireguard[n]}/32" for n in others
        }


def test_calico_throws_what_is_its_own_back_to_the_main_table() -> None:
    at = allocate(spec("calico", "bgp", nodes=RACKS, wireguardEnabled=True))
    for node in ("n1", "n2", "n3"):
        thrown = {r.dst for r in every(CALICO, Route, node) if r.type == "throw"}
        assert thrown == set(at.blocks[node]), "the device's address lies in one of them"
        own = {ip_address(a) for pod, a in at.pod.items() if pod.startswith(f"{node}-")}
        assert all(any(a in ip_network(block) for block in thrown) for a in own)


def test_calico_encrypts_what_is_borrowed_to_whoever_has_it() -> None:
    """Its owner throws the whole block, so that the single address must win there."""
    about = spec("calico", "vxlan", nodes=3, pods=3, wireguardEnabled=True, blockSize=30)
    about = about._replace(pod_cidrs=("10.244.0.0/28",))
    at, made = allocate(about), compile_spec(about)
    assert at.borrowed
    for address, user in at.borrowed.items():
        for node in ("n1", "n2", "n3"):
            found = [
                r
                for r in every(made, Route, node)
                if r.table == 1 and ip_address(address) in ip_network(r.dst)
            ]
            best = max(found, key=lambda r: ip_network(r.dst).prefixlen)
            assert (best.type == "throw") == (node == user)
            assert best.dst == f"{address}/32"


@pytest.mark.parametrize(
    ("backend", "families", "options", "expected"),
    [
        ("bgp", "4", {"wireguardEnabled": True}, 1440),
        ("vxlan", "4", {"wireguardEnabled": True}, 1440),
        ("ipip", "4", {"wireguardEnabled": True}, 1440),
        ("vxlan", "46", {"wireguardEnabled": True}, 1430),
        ("bgp", "46", {"wireguardEnabled": True, "wireguardEnabledV6": True}, 1420),
        ("bgp", "6", {"wireguardEnabledV6": True}, 1420),
    ],
)
def test_calico_gives_pods_the_narrowest_mtu(
    backend: str, families: str, options: dict[str, bool], expected: int
) -> None:
    made = plan("calico", backend, families=families, **options)
    assert interface(made, "n1-p1", "eth0").mtu == expected
    by_name = {r.name: interface(made, "n1", r.name).mtu for r in every(made, Wireguard, "n1")}
    assert by_name.items() <= {"wireguard.cali": 1440, "wg-v6.cali": 1420}.items()


def main_table(made: Plan, node: str) -> set[tuple[str, ...]]:
    """But for the routes to the node's own pods, whose addresses come after the device's."""
    found = (r for r in every(made, Route, node) if r.table == 254 and r.dev[:4] != "cali")
    return {(r.dst, r.via, r.dev, r.type, r.proto) for r in found}


@pytest.mark.parametrize("backend", ["vxlan", "ipip"])
def test_calico_leaves_felixs_own_routes_alone(backend: str) -> None:
    """They carry what is sent while the device is down."""
    bare = plan("calico", backend, nodes=RACKS)
    made = plan("calico", backend, nodes=RACKS, wireguardEnabled=True)
    for node in ("n1", "n2", "n3"):
        assert main_table(bare, node) == main_table(made, node)


def test_calico_keeps_birds_routes_to_peers_from_the_kernel() -> None:
    """So there is no way in the clear; other nodes are told of the blocks all the same."""
    bare = plan("calico", "bgp", nodes=RACKS)
    for node, others in (("n1", (".1.12", ".2.11")), ("n3", (".1.11", ".1.12"))):
        gone = main_table(bare, node) - main_table(CALICO, node)
        assert len(gone) == 2 and {kind for *_, kind, _ in gone} == {"unicast"}
        (text,) = (f.text for f in every(CALICO, File, node) if f.path.endswith("bird.cfg"))
        refused = re.findall(r"if defined\(bgp_next_hop\) && bgp_next_hop = (\S+) then", text)
        assert refused == [f"192.168{other}" for other in others]
        said_to_peers, *_ = text.partition("filter calico_kernel_programming")
        assert "bgp_next_hop" not in said_to_peers
    (text,) = (f.text for f in every(bare, File, "n1") if f.path.endswith("bird.cfg"))
    assert "bgp_next_hop" not in text


def test_calico_keeps_routes_whose_next_hop_is_a_router() -> None:
    """And of the two families those of the one that is not encrypted."""
    options = {"nodeToNodeMeshEnabled": False, "peerWithRouters": True}
    of_both = [
        spec("calico", "bgp", nodes=RACKS, wireguardEnabled=on, **options) for on in (False, True)
    ]
    bare, made = (compile_spec(about._replace(routing="bgp")) for about in of_both)
    assert main_table(bare, "n1") == main_table(made, "n1")
    both = plan("calico", "bgp", families="46", wireguardEnabled=True)
    learnt = {r.dst for r in every(both, Route, "n1") if r.proto == "bird" and r.via}
    assert len(learnt) == 1 and ":" in learnt.pop()


def test_calico_gives_the_device_an_address_of_its_own() -> None:
    about = spec("calico", "vxlan", nodes=RACKS, wireguardEnabled=True)
    at, made = allocate(about), compile_spec(about)
    for node in ("n1", "n2", "n3"):
        own = {a.dev: a.address for a in every(made, Addr, node)}
        assert own["wireguard.cali"] == f"{at.wireguard[node]}/32"
        assert own["vxlan.calico"] == f"{at.tunnel[node]}/32"
    assert len({*at.wireguard.values(), *at.tunnel.values(), *at.pod.values()}) == 6 + len(at.pod)


def test_pods_keep_their_addresses_when_encryption_comes_and_goes() -> None:
    plain = spec("calico", "bgp", nodes=RACKS)
    encrypted = spec("calico", "bgp", nodes=RACKS, wireguardEnabled=True)
    first = allocate(plain)
    second = allocate(encrypted, first.ledger)
    third = allocate(plain, second.ledger)
    assert first.pod == second.pod == third.pod
    assert not set(second.wireguard.values()) & set(second.pod.values())
    assert third.wireguard == {}
    assert allocate(encrypted, third.ledger).wireguard == second.wireguard


def test_both_families_have_a_rule_and_a_device_each_and_tables_of_one_number() -> None:
    """Felix sets a second index aside and takes the first one for both."""
    made = plan("calico", "vxlan", families="46", wireguardEnabled=True, wireguardEnabledV6=True)
    rules = {r.family: r for r in every(made, Rule, "n1")}
    assert {family: rule.table for family, rule in rules.items()} == {"ip": 1, "ip6": 1}
    for family, dev in (("ip", "wireguard.cali"), ("ip6", "wg-v6.cali")):
        (device,) = (r for r in every(made, Wireguard, "n1") if r.name == dev)
        mark = f"{device.fwmark:#x}/{device.fwmark:#x}"
        assert rules[family].selector == f"not from all fwmark {mark}", "or it is encrypted again"
    assert {r.name: r.port for r in every(made, Wireguard, "n1")} == {
        "wireguard.cali": 51820,
        "wg-v6.cali": 51821,
    }
    of_table = {(r.dst.count(":") > 0, r.dev) for r in every(made, Route, "n1") if r.table == 1}
    assert of_table >= {(False, "wireguard.cali"), (True, "wg-v6.cali"), (True, ""), (False, "")}


@pytest.mark.parametrize("made", [FLANNEL, CALICO], ids=["flannel", "calico"])
def test_no_strict_reverse_path_filter_meets_the_rule_table(made: Plan) -> None:
    (device,) = every(made, Wireguard, "n1")
    for scope in ("all", "default", "eth0", device.name):
        assert setting(made, "n1", f"net/ipv4/conf/{scope}/rp_filter") == "0"


def test_calicos_node_speaks_into_the_device_as_the_device() -> None:
    (nat,) = (t.text for t in every(CALICO, NftTable, "n1") if t.name == "nat")
    rule = 'oifname "wireguard.cali" fib saddr . oif type != local fib saddr type local masquerade'
    assert rule in nat
    (guard,) = (t.text for t in every(CALICO, NftTable, "n1") if t.name == "filter")
    assert "udp dport 51820 fib daddr type local accept" in guard


def table(made: Plan, name: str, family: str = "ip") -> str:
    found = made.get(("n1", "nft", f"{family} {name}"))
    assert type(found) is NftTable
    return found.text


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_with_vxlan_udp_avoids_its_port_by_whatever_tunnel(family: str) -> None:
    """An answer to 4789 would be dropped by the guard of VXLAN, though it comes by WireGuard."""
    both = {"wireguardEnabled": True, "wireguardEnabledV6": True}
    nat = table(plan("calico", "vxlan", families="46", **both), "nat", family)
    rules = re.findall(r'(udp )?oifname "(\S+)" .* masquerade( to :4790-65535)? fully', nat)
    devices = ("vxlan.calico", "wireguard.cali")
    if family == "ip6":
        devices = ("vxlan-v6.calico", "wg-v6.cali")
    expected = [[("udp ", dev, " to :4790-65535"), ("", dev, "")] for dev in devices]
    assert rules == [rule for pair in expected for rule in pair]
    for other in (CALICO, plan("calico", "ipip", wireguardEnabled=True)):
        assert "4790" not in table(other, "nat")


@pytest.mark.parametrize(("backend", "last"), [("ipip", "ipencap drop"), ("vxlan", "local drop")])
def test_wireguard_is_let_in_beside_the_guard_of_a_tunnel(backend: str, last: str) -> None:
    guard = table(plan("calico", backend, wireguardEnabled=True), "filter")
    rules = guard.partition("chain cali-INPUT {\n")[2].partition("\t}")[0].splitlines()
    assert rules[-2].endswith(last)
    assert rules[-1] == "\t\tudp dport 51820 fib daddr type local accept"


@pytest.mark.parametrize("backend", ["ipip", "vxlan"])
def test_a_tunnels_address_is_encrypted_to_its_node(backend: str) -> None:
    """A node speaks to pods of others under it while WireGuard is younger than the tunnel."""
    about = spec("calico", backend, nodes=RACKS, wireguardEnabled=True)
    at = allocate(about)
    found = {peer.endpoint: peer.allowed_ips for peer in peers(compile_spec(about), "n1")}
    for node in ("n2", "n3"):
        allowed = found[f"{at.node[node]}:51820"]
        assert {f"{at.tunnel[node]}/32", f"{at.wireguard[node]}/32"} <= set(allowed)


def test_where_a_family_has_no_tunnel_no_address_of_one_is_encrypted() -> None:
    """IPIP is of IPv4: beside a block of IPv6 there is the device's own address alone."""
    about = spec("calico", "ipip", families="46", wireguardEnabledV6=True)
    (_, six), made = allocate(about).families, compile_spec(about)
    (peer,) = peers(made, "n1", "wg-v6.cali")
    assert set(peer.allowed_ips) == {*six.blocks["n2"], f"{six.wireguard['n2']}/128"}
    assert six.tunnel == {}


def test_flannels_keepalive_and_shared_key_are_of_every_peer() -> None:
    made = plan(backend="wireguard", nodes=3, psk=True, persistentKeepaliveInterval=25)
    assert {(p.keepalive_s, bool(p.shared_key)) for p in peers(made, "n1")} == {(25, True)}
    assert {(p.keepalive_s, bool(p.shared_key)) for p in peers(FLANNEL, "n1")} == {(0, False)}
