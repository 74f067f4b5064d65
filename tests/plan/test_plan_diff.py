"""Single cases of the diff: what goes with what, what stays, and that one round is enough."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from fake_kernel import FakeKernel
from kernel_scenarios import (
    ADDR,
    CABLE,
    FAST,
    FDB,
    FROM_POD,
    HTB,
    NEIGH,
    ON,
    ROOT,
    ROUTE,
    RULE,
    SHAPED,
    SLOW,
    TBF,
    TO_POD,
    VX,
    WIRED,
    A,
    B,
    up,
)

from emulator.errors import KernelRefused
from emulator.plan import Op, Plan, deviations, diff
from emulator.plan.resources import (
    Bridge,
    Foreign,
    Interface,
    Netns,
    Process,
    Resource,
    Route,
    Sysctl,
    Veth,
)
from emulator.plan.text import line


def of(resources: Iterable[Resource]) -> Plan:
    made = Plan()
    made.add(resources, "test")
    return made


def known(*plans: Plan) -> list[Resource]:
    return [entry.resource for one in plans for entry in one]


def step(before: Iterable[Resource], after: Iterable[Resource]) -> list[str]:
    """The operations of one round, after which the fake kernel holds exactly ``after``."""
    old, new = of(before), of(after)
    machine = FakeKernel()
    machine.apply(diff(old, {}))
    ops = diff(new, machine.observe(known(old, new)), old)
    machine.apply(ops)
    assert deviations(new, machine.observe(known(new))) == []
    return [str(op) for op in ops]


def without(whole: Iterable[Resource], *parts: Resource) -> list[Resource]:
    return [r for r in whole if r not in parts]


ACCEPT_RA = Sysctl("a", "net/ipv6/conf/vx/accept_ra", "0", True)


def test_a_tunnel_is_made_anew_with_its_parent() -> None:
    elsewhere = CABLE._replace(peer="y2")
    far = up("b", "y2", mac="02:00:00:00:00:0b")
    tunnel = up("a", "vx", 1450, mac="02:00:00:00:00:0d")
    before = [*WIRED, ADDR, VX, tunnel, FDB, ROUTE, ACCEPT_RA]
    after = [elsewhere if r == CABLE else far if r == WIRED[6] else r for r in before]
    ops = step(before, after)
    assert [op for op in ops if op.startswith("-")] == ["- a veth x peer b y"]
    assert "+ a vxlan vx id 1 local 10.0.0.1 dev x dstport 8472 nolearning" in ops
    assert "+ a sysctl net/ipv6/conf/vx/accept_ra = 0 (if present)" in ops


def test_routes_and_neighbours_return_after_the_last_address() -> None:
    other = ADDR._replace(address="10.0.0.1/25")
    ops = step([*ON, ROUTE, NEIGH], [*without(ON, ADDR), other, ROUTE, NEIGH])
    assert ops == [
        "- a addr x 10.0.0.1/24 scope global",
        "+ a addr x 10.0.0.1/25 scope global",
        "+ a neigh x 10.0.0.9 lladdr 02:00:00:00:00:09 permanent",
        "+ a route 10.1.0.0/16 via 10.0.0.2 dev x proto boot scope global",
    ]


def test_what_cannot_be_changed_in_place_is_made_anew() -> None:
    wider = ADDR._replace(scope="link")
    assert step(ON, [*without(ON, ADDR), wider])[0].startswith("- a addr x")
    assert step([*WIRED, TBF], [*WIRED, HTB])[0].startswith("- a qdisc x tbf")
    assert step([*ON, NEIGH], [*ON, NEIGH._replace(lladdr="02:00:00:00:00:08")])[0][0] == "-"
    assert step([*WIRED, RULE], [*WIRED, RULE._replace(table=200)])[0][0] == "-"


@pytest.mark.parametrize(
    ("dst", "near", "far", "actions"),
    [
        ("10.244.2.0/24", "192.168.1.12", "10.244.2.0", ["change"]),
        ("fd00:2::/64", "fd00:1::c", "fd00:2::", ["delete", "create"]),
    ],
)
def test_a_route_of_ipv6_would_be_in_the_way_of_the_one_into_a_tunnel(
    dst: str, near: str, far: str, actions: list[str]
) -> None:
    """The kernel takes no gateway for on-link that it reaches by another device already."""
    direct = Route("a", dst, near, "eth0", proto="80")
    tunnel = Route("a", dst, far, "vxlan", onlink=True, proto="80")
    there = {direct.key: direct}
    assert [op.action for op in diff(of([tunnel]), there, of([direct]))] == actions
    back = diff(of([direct]), {tunnel.key: tunnel}, of([tunnel]))
    assert [op.action for op in back] == ["change"]


def test_classes_and_filters_go_with_their_root() -> None:
    assert step(SHAPED, [*WIRED, TBF]) == [
        "- a qdisc x htb default 0x30",
        "+ a qdisc x tbf rate 100000000bit burst 68000b limit 380500b",
    ]
    assert step(SHAPED, [r._replace(default=1) if r == ROOT else r for r in SHAPED]) == [
        "- a qdisc x htb default 0x30",
        "+ a qdisc x htb default 0x1",
        *(f"+ {line(r)}" for r in (SLOW, FAST, TO_POD, FROM_POD)),
    ]
    gone = step(SHAPED, without(SHAPED, FAST, FROM_POD))
    assert gone == [f"- {line(FROM_POD)}", f"- {line(FAST)}"], "a filter before its class"


def test_what_can_be_changed_in_place_is() -> None:
    (op,) = step([*ON, ROUTE], [*ON, ROUTE._replace(via="10.0.0.3")])
    assert op == (
        "~ a route 10.1.0.0/16 via 10.0.0.3 dev x proto boot scope global\n"
        "  was: a route 10.1.0.0/16 via 10.0.0.2 dev x proto boot scope global"
    )
    (op,) = step(SHAPED, [SLOW._replace(rate_bit=8000) if r == SLOW else r for r in SHAPED])
    assert op.startswith("~ a class x 1:1 htb rate 8000bit"), "a filter holds it"
    near = WIRED[5]
    assert isinstance(near, Interface)
    (op,) = step(WIRED, [near._replace(mtu=1400) if r == near else r for r in WIRED])
    assert op.startswith("~ a interface x up mtu 1400")


def test_the_cable_of_a_namespace_that_goes_is_removed_by_name() -> None:
    left = [r for r in ON if r.ns == "a" and r not in (ADDR, CABLE, WIRED[5])]
    assert step([*ON, ROUTE], left) == ["- a veth x peer b y", "- b netns"]


def test_a_cable_between_two_namespaces_that_go_needs_no_name() -> None:
    assert step([*ON, ROUTE], []) == ["- a netns", "- b netns"]


def test_a_process_is_ended_before_its_namespace_goes() -> None:
    process = Process("b", "b/main", ("sleep", "9"), (), "Always")
    old = of([*A, *B, process])
    observed = {r.key: r for r in known(old)}
    assert [str(op) for op in diff(of(A), observed, old)] == [
        "- b process b/main restart Always: sleep 9",
        "- b netns",
    ]


def test_a_name_that_somebody_else_took_is_refused_not_taken() -> None:
    machine = FakeKernel()
    machine.apply(diff(of(A), {}))
    machine.by_hand(Foreign("a", "device", "br", "dummy"))
    wanted = of([*A, Bridge("a", "br"), up("a", "br")])
    ops = diff(wanted, machine.observe(()), of(A))
    assert [str(op) for op in ops] == ["+ a bridge br"]
    with pytest.raises(KernelRefused, match="EEXIST"):
        machine.apply(ops)


def test_what_a_daemon_is_to_write_stays_whoever_wrote_it_before() -> None:
    old = of([*ON, ROUTE])
    observed = {r.key: r for r in known(old)}
    new = of(ON)
    new.add([ROUTE], "a daemon", "expected")
    assert diff(new, observed, old) == []
    assert diff(new, observed) == []


def test_without_an_owner_everything_else_goes_but_what_no_plan_contains() -> None:
    observed = {r.key: r for r in (*ON, ROUTE, Foreign("a", "device", "d", "dummy"))}
    assert [str(op) for op in diff(of(without(ON, ADDR)), observed)] == [
        "- a addr x 10.0.0.1/24 scope global"
    ]


def test_an_optional_setting_is_tried_where_its_interface_is_new() -> None:
    namespace, setting = of(A), Sysctl("a", "net/ipv6/conf/br/accept_ra", "0", True)
    wanted = of([*A, Bridge("a", "br"), up("a", "br"), setting])
    seen = {r.key: r for r in known(namespace)}
    assert setting in [op.resource for op in diff(wanted, seen, namespace)]
    seen = {r.key: r for r in known(wanted) if r != setting}
    assert diff(wanted, seen, namespace) == []


def test_a_finding_says_what_was_expected_and_what_was_found() -> None:
    wanted, got = of([*WIRED, VX]), {r.key: r for r in (*WIRED, VX._replace(vni=2))}
    extra = Foreign("a", "device", "d", "dummy")
    got[extra.key] = extra
    del got["b", "netns", ""]
    assert [str(finding) for finding in deviations(wanted, got)] == [
        "missing: b netns",
        "differs: a vxlan vx id 2 local 10.0.0.1 dev x dstport 8472 nolearning\n"
        "  expected: a vxlan vx id 1 local 10.0.0.1 dev x dstport 8472 nolearning",
        "extra: a foreign device d dummy",
    ]


def test_a_pair_has_one_form_whichever_end_is_named_first() -> None:
    made = of([*A, *B, CABLE])
    assert isinstance(CABLE, Veth)
    with pytest.raises(Exception, match="two values for one identity"):
        made.add([Bridge("b", "y")], "the far end is taken")
    assert made.get(Netns("a").key) == Netns("a")


def test_a_setting_that_the_new_plan_does_not_name_is_given_back() -> None:
    counting = Sysctl("a", "net/netfilter/nf_conntrack_acct", "1")
    notify = Sysctl("a", "net/ipv4/conf/x/arp_notify", "1")
    ops = step([*WIRED, counting, notify], WIRED)
    assert sorted(ops) == sorted([f"- {line(notify)}", f"- {line(counting)}"])
    assert step([*WIRED, counting], [*WIRED, counting]) == []


def test_a_setting_goes_with_what_it_is_of() -> None:
    notify = Sysctl("a", "net/ipv4/conf/x/arp_notify", "1")
    ops = step([*WIRED, notify], without(WIRED, CABLE, WIRED[5], WIRED[6]))
    assert [op for op in ops if "sysctl" in op] == []


def test_a_setting_that_somebody_has_changed_since_stays() -> None:
    counting = Sysctl("a", "net/netfilter/nf_conntrack_acct", "1")
    new, old = of(WIRED), of([*WIRED, counting])
    machine = FakeKernel()
    machine.apply(diff(old, {}))
    machine.apply([Op("create", counting._replace(value="0"), None)])
    assert diff(new, machine.observe(known(old, new)), old) == []
