"""Every rule of the plan's invariants, broken once."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from kernel_scenarios import (
    ADDR,
    DEFAULT6,
    FAST,
    FDB,
    FROM_POD,
    NEIGH,
    ON,
    ON6,
    PORT,
    ROOT,
    ROUTE,
    ROUTE6,
    SHAPED,
    TBF,
    TO_POD,
    TUNNEL,
    TUNNEL6,
    VX,
    WIRED,
    A,
    B,
    up,
)
from scenarios_wireguard import MESHED, WG
from scenarios_wireguard import B as PEER
from small_plans import plan, spec

from emulator.compile import compile_spec
from emulator.errors import PodwireError
from emulator.plan import Plan
from emulator.plan.check import check, told
from emulator.plan.resources import (
    Bridge,
    Hop,
    Interface,
    Resource,
    Route,
    Sysctl,
    multipath,
    veth,
)
from emulator.spec.medium import Rate

X, Y = WIRED[5], WIRED[6]


def of(resources: Iterable[Resource]) -> Plan:
    made = Plan()
    made.add(resources, "room")
    return made


def put(whole: Iterable[Resource], old: Resource, new: Resource) -> list[Resource]:
    return [new if r == old else r for r in whole]


def end(ns: str, name: str, number: int, **more: object) -> Interface:
    plain = up(ns, name, mac=f"02:00:00:00:00:{number:02x}")
    return plain._replace(**more)  # type: ignore[arg-type]


def ports(count: int) -> list[Resource]:
    made: list[Resource] = [*A, *B, Bridge("a", "br"), up("a", "br")]
    for i in range(count):
        made += [veth("a", f"p{i}", "b", f"q{i}"), up("a", f"p{i}", master="br"), up("b", f"q{i}")]
    return made


SMALL = up("a", "x", 1279, "02:00:00:00:00:0a")
BROKEN: dict[str, tuple[list[Resource], str]] = {
    "a namespace is missing": (
        [r for r in WIRED if r != B[0]],
        "found no namespace b, expected a netns of that name in the plan",
    ),
    "a configuration without a device": (
        [*A, up("a", "x")],
        "plan: a interface x up mtu 1500 tso on gso on gro on (from room): found no device x in a",
    ),
    "a device without a configuration": (
        [r for r in WIRED if r != Y],
        "plan: b device y: found no configuration",
    ),
    "a name too long": (
        [*A, Bridge("a", "b" * 16), up("a", "b" * 16)],
        f"plan: a device {'b' * 16}: found a name of 16 characters",
    ),
    "a name with a slash": (
        [*A, Bridge("a", "b/c"), up("a", "b/c")],
        "plan: a device b/c: found a name of 3 characters, expected 1 to 15 characters without",
    ),
    "a master that is not there": (put(WIRED, X, PORT), "found no bridge br"),
    "a master in another namespace": (
        [*put(WIRED, X, PORT), Bridge("b", "br"), up("b", "br")],
        "found no bridge br, expected a bridge of its namespace",
    ),
    "a master that is no bridge": (
        put(TUNNEL, X, PORT._replace(master="vx")),
        "found no bridge vx",
    ),
    "a bridge with a port too many": (ports(1024), "plan: a bridge br: found 1024 ports"),
    "an address on no device": ([*WIRED, ADDR._replace(dev="z")], "found no device z in a"),
    "a neighbour on no device": ([*WIRED, NEIGH._replace(dev="z")], "found no device z in a"),
    "a class below no root": (
        [r for r in SHAPED if r not in (ROOT, TO_POD, FROM_POD)],
        "found no htb with classes on x",
    ),
    "a filter without its class": ([r for r in SHAPED if r != FAST], "found no class 1:10 on x"),
    "a filter on no device": ([*SHAPED, TO_POD._replace(dev="z")], "found no device z in a"),
    "a shaper on no device": ([*WIRED, TBF._replace(dev="z")], "found no device z in a"),
    "a forwarding entry on a cable": (
        [*TUNNEL, FDB._replace(dev="x")],
        "found x is no VXLAN device",
    ),
    "a setting of no device": (
        [*WIRED, Sysctl("a", "net/ipv4/conf/z/arp_notify", "1")],
        "plan: a sysctl net/ipv4/conf/z/arp_notify = 1 (from room): found no device z in a",
    ),
    "a route by no device": ([*ON, ROUTE._replace(dev="z")], "found no device z in a"),
    "a next hop by no device": (
        [*ON, multipath(ROUTE, [Hop("10.0.0.2", "x"), Hop("10.0.1.2", "z")])],
        "found no device z in a",
    ),
    "a next hop in no network": (
        [*ON, multipath(ROUTE, [Hop("10.0.0.2", "x"), Hop("10.5.0.1", "x")])],
        "found gateway 10.5.0.1 in no network of x",
    ),
    "a route by an interface that is down": (
        [*put(ON, X, X._replace(up=False)), ROUTE],  # type: ignore[call-arg]
        "found x is down, expected an interface that is up",
    ),
    "a gateway in no network": (
        [*ON, ROUTE._replace(via="10.5.0.1")],
        "found gateway 10.5.0.1 in no network of x, expected a gateway that is reached directly",
    ),
    "a gateway on another interface": (
        [*TUNNEL, ROUTE._replace(dev="vx")],
        "found gateway 10.0.0.2 in no network of vx",
    ),
    "a gateway of its own": ([*ON, ROUTE._replace(via="10.0.0.1")], "found a gateway of its own"),
    "a MAC address at both ends of a cable": (
        put(WIRED, Y, end("b", "y", 10)),
        "plan: b interface y up mtu 1500 mac 02:00:00:00:00:0a tso on gso on gro on (from room): "
        "found the MAC address 02:00:00:00:00:0a of a x",
    ),
    "a MAC address on two ports' far ends": (
        [
            *(*A, *B, Bridge("a", "br"), end("a", "br", 1)),
            *(veth("a", "p", "b", "q"), end("a", "p", 2, master="br"), end("b", "q", 3)),
            *(veth("a", "r", "b", "s"), end("a", "r", 4, master="br"), end("b", "s", 3)),
        ],
        "found the MAC address 02:00:00:00:00:03 of b q",
    ),
    "a cable with two MTUs": (
        put(WIRED, Y, end("b", "y", 11, mtu=1400)),
        "plan: a veth x peer b y (from room): found MTU 1500 at one end and 1400 at the other",
    ),
    "a tunnel without room for its header": (
        put(TUNNEL, up("a", "vx", 1450), up("a", "vx", 1451)),
        "found MTU 1451 over x with 1500, expected at most 1450",
    ),
    "a tunnel over nothing": (
        put(TUNNEL, VX, VX._replace(parent="z")),
        "found no interface z in a",
    ),
    "a tunnel over IPv6 with room for the header of IPv4 only": (
        put(TUNNEL6, up("a", "vx", 1430), up("a", "vx", 1450)),
        "found MTU 1450 over x with 1500, expected at most 1430: VXLAN over IPv6 adds 70 bytes",
    ),
    "an address of IPv6 where it has no room": (
        put(ON6, X, SMALL),
        "found MTU 1279 of x, expected at least 1280",
    ),
    "a gateway of IPv6 in no network": (
        [*ON6, ADDR, ROUTE6._replace(via="fd05::1")],
        "found gateway fd05::1 in no network of x",
    ),
    "a route of IPv6 with a scope": (
        [*ON6, ROUTE6._replace(scope="link")],
        "found scope link, expected scope global",
    ),
    "a peer of a cable": (
        [*WIRED, PEER._replace(dev="x")],
        "found x is no WireGuard device",
    ),
    "a prefix of two peers": (
        [*MESHED, PEER._replace(public_key="{public key: d}")],
        "found 10.2.0.0/16, which is allowed to {public key: b wg0}",
    ),
    "two WireGuard devices on one port": (
        [*MESHED, WG._replace(name="wg1"), up("a", "wg1", 1420)],
        "found port 51820, which wg0 has",
    ),
    "two tunnels of one number": (
        [*TUNNEL, VX._replace(name="vy"), up("a", "vy", 1450)],
        "found VNI 1 on port 8472, which vx has",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_rule_is_named(name: str) -> None:
    resources, expected = BROKEN[name]
    problems = [str(problem) for problem in check(of(resources))]
    assert any(expected in text for text in problems), problems


SOUND: dict[str, list[Resource]] = {
    "both families": [*ON6, ADDR, ROUTE, ROUTE6, DEFAULT6._replace(via="fe80::1")],
    "a tunnel of each family": [*TUNNEL6, ADDR, VX._replace(name="v4"), up("a", "v4", 1450)],
    "nothing": [],
    "a tunnel": [*TUNNEL, FDB, NEIGH, ROUTE],
    "1023 ports": ports(1023),
    "a gateway that is said to be onlink": [*ON, ROUTE._replace(via="10.5.0.1", onlink=True)],
    "a gateway behind a link route": [
        *ON,
        Route("a", "169.254.1.1/32", "", "x", scope="link"),
        Route("a", "default", "169.254.1.1", "x"),
    ],
    "a blackhole": [*ON, Route("a", "10.1.0.0/16", "", "", type="blackhole")],
    "one MAC address in two layer-2 domains": [
        *(*A, *B),
        *(veth("a", "p", "b", "q"), end("a", "p", 1), end("b", "q", 2)),
        *(veth("a", "r", "b", "s"), end("a", "r", 1), end("b", "s", 3)),
    ],
    "the same VNI on another port": [
        *TUNNEL,
        VX._replace(name="vy", port=4789),
        up("a", "vy", 1450),
    ],
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_plan_has_no_violation(name: str) -> None:
    assert check(of(SOUND[name])) == []


def test_one_fault_is_told_once() -> None:
    (problem,) = check(of([*ON, ROUTE._replace(via="10.5.0.1")]))
    assert str(problem) == (
        "plan: a route 10.1.0.0/16 via 10.5.0.1 dev x proto boot scope global (from room): "
        "found gateway 10.5.0.1 in no network of x, "
        "expected a gateway that is reached directly, or onlink"
    )


def test_a_thousand_problems_are_told_as_twenty_and_a_number() -> None:
    problems = check(of([*ON, *(ROUTE._replace(dst=f"10.{i}.0.0/16", dev="z") for i in range(99))]))
    assert len(problems) == 99
    assert told(problems) == [*problems[:20], "and 79 more"]
    assert told(problems[:20]) == problems[:20]


def test_compiled_plans_are_sound() -> None:
    for made in (
        plan("none", pods=3),
        plan("host"),
        plan(nodes=("rack-a", "rack-b", "rack-c"), directRouting=True, mtu=9000),
        plan(backend="host-gw", enableNFTables=True, rate=Rate(10**9, "htb")),
    ):
        assert check(made) == []


def test_what_the_kernel_could_not_hold_ends_the_compiler() -> None:
    far = spec(backend="host-gw", nodes=("rack-a", "rack-b"))
    with pytest.raises(PodwireError, match=r"gateway 192\.168\.2\.11 in no network of eth0"):
        compile_spec(far)
