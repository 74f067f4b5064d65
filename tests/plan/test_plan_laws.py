"""What holds for the diff of any two plans, shown on the fake kernel."""

from __future__ import annotations

from typing import Any

import pytest
from fake_kernel import FakeKernel
from hypothesis import given, settings
from hypothesis import strategies as st
from small_plans import of_a_kernel, plan, spec

from emulator.cni.options import PLUGINS
from emulator.compile import compile_spec
from emulator.errors import PodwireError
from emulator.plan import Plan, deviations, diff
from emulator.plan.converge import converge
from emulator.plan.resources import (
    Addr,
    Foreign,
    Interface,
    Netns,
    NftTable,
    Resource,
    Route,
    Rule,
    Sysctl,
)
from emulator.plan.script import script
from emulator.plan.text import line
from emulator.spec.medium import Delay, Ends, Loss, Medium, Rate
from emulator.spec.resolved import Bandwidth


def _racks(count: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.tuples(*[st.sampled_from(("rack-a", "rack-b"))] * count)


def media(rates: tuple[Rate | None, ...]) -> st.SearchStrategy[Medium]:
    """Mostly nothing but a rate."""
    rate, late = st.sampled_from(rates), Delay(10_000, 2_000, "normal")
    odd = st.builds(
        Medium,
        rate,
        st.sampled_from((None, Delay(0), Delay(10_000), Delay(5_000, 1_000), late)),
        st.sampled_from((None, Loss(0), Loss(10**6), Loss(10**6, 250_000_000))),
        st.sampled_from((None, 10**7)),
        corrupt_ppb=st.sampled_from((None, 1)),
    )
    return st.one_of(st.builds(Medium, rate), st.just(Medium()), odd)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """The plan of a small cluster; nodes and pods of two such plans have names in common."""
    network: dict[str, Any] = draw(
        st.sampled_from(
            (
                {"plugin": "host"},
                {"plugin": "none"},
                {"plugin": "kubenet"},
                {"plugin": "kubenet", "hairpinMode": "hairpin-veth"},
                {"plugin": "weave", "backend": "fastdp"},
                {"plugin": "weave", "backend": "sleeve"},
                {"backend": "host-gw"},
                {"backend": "vxlan"},
                {"backend": "udp"},
                {"backend": "vxlan", "directRouting": True},
                {"backend": "vxlan", "vni": 7, "port": 4789},
            )
        )
    )
    if "backend" in network and "plugin" not in network:
        network = network | draw(st.sampled_from(({}, {"enableNFTables": True}, {"ipMasq": False})))
    racks = draw(st.integers(1, 3).flatmap(_racks))
    if network.get("backend") == "host-gw":
        racks = tuple("rack-a" for _ in racks)
    ipv6 = network.get("backend", "") in PLUGINS[network.get("plugin", "flannel")].ipv6
    families = draw(st.sampled_from(("4", "6", "46", "64") if ipv6 else ("4",)))
    rates = (None, Rate(10**8, "tbf"), Rate(10**9, "tbf"), Rate(10**8, "htb"), Rate(10**9, "htb"))
    cluster = spec(
        **network,
        nodes=racks,
        pods=draw(st.integers(0, 2)),
        mtu=draw(st.sampled_from((1450, 1500, 9000))),
        offload=draw(st.sampled_from(("full", "wire", "off"))),
        ends=Ends(draw(media(rates)), draw(media(rates)), draw(media(rates))),
        families=families,
    )
    if network.get("plugin") == "kubenet":
        limits = st.builds(Bandwidth, *[st.sampled_from((0, 10**6, 12_345_000))] * 2)
        pods = tuple(pod._replace(bandwidth=draw(limits)) for pod in cluster.pods)
        cluster = cluster._replace(pods=pods)
    return of_a_kernel(compile_spec(cluster))


def kernel_with(made: Plan) -> FakeKernel:
    machine = FakeKernel()
    machine.apply(diff(made, {}))
    return machine


def state(machine: FakeKernel, *made: Plan) -> dict[Any, Resource]:
    return machine.observe([entry.resource for one in made for entry in one])


@given(plans())
@settings(max_examples=60)
def test_first_up_leaves_exactly_the_plan(made: Plan) -> None:
    assert deviations(made, state(kernel_with(made), made)) == []


@given(plans())
@settings(max_examples=30)
def test_nothing_to_do_where_everything_is_as_planned(made: Plan) -> None:
    assert diff(made, {entry.resource.key: entry.resource for entry in made}) == []
    machine = kernel_with(made)
    assert diff(made, state(machine, made), made) == []
    assert converge(machine, made, made) == []


@given(plans(), plans())
@settings(max_examples=150)
def test_any_plan_becomes_any_other_in_two_rounds(before: Plan, after: Plan) -> None:
    machine = kernel_with(before)
    converge(machine, after, before, rounds=2)
    assert deviations(after, state(machine, after)) == []


@given(plans(), plans())
@settings(max_examples=60)
def test_without_an_owner_the_same(before: Plan, after: Plan) -> None:
    machine = kernel_with(before)
    for _ in range(2):
        machine.apply(diff(after, state(machine, before, after)))
    assert deviations(after, state(machine, after)) == []


BY_HAND: tuple[Resource, ...] = (
    Foreign("n1", "device", "dummy0", "dummy"),
    Addr("n1", "lo", "192.0.2.1/32"),
    Route("n1", "203.0.113.0/24", "", "dummy0", scope="link"),
    Rule("n1", 500, "from 192.0.2.1/32", 500),
    NftTable("n1", "inet", "mine", "table inet mine {\n}\n"),
)


@given(plans(), plans())
@settings(max_examples=60)
def test_what_somebody_made_by_hand_stays(before: Plan, after: Plan) -> None:
    machine = kernel_with(before)
    machine.by_hand(*BY_HAND)
    converge(machine, after, before)
    found = state(machine, after)
    assert [r for r in BY_HAND if found.get(r.key) != r] == []
    own = {(r.ns, r.kind, r.key[2]) for r in BY_HAND}
    extra = {f.found.key for f in deviations(after, found) if f.problem == "extra" and f.found}
    assert extra == {r.key for r in BY_HAND} | {("n1", "interface", "dummy0")}, own


@given(plans(), st.data())
@settings(max_examples=60)
def test_what_somebody_broke_is_mended(made: Plan, data: st.DataObject) -> None:
    machine = kernel_with(made)
    rows = [key for space in machine.spaces.values() for key in space.tables]
    broken = data.draw(st.lists(st.sampled_from(rows), unique=True)) if rows else []
    for key in broken:
        del machine.spaces[key[0]].tables[key]
    ends = [r for e in made if type(r := e.resource) is Interface and r.name != "lo"]
    for end in data.draw(st.lists(st.sampled_from(ends), max_size=3)) if ends else ():
        machine.spaces[end.ns].devices[end.name].config = end._replace(mtu=1300, tso=not end.tso)
    converge(machine, made, made)
    assert deviations(made, state(machine, made)) == []


@given(plans(), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_texts_do_not_depend_on_the_order_of_the_plan(made: Plan, random: Any) -> None:
    entries = list(made)
    random.shuffle(entries)
    shuffled = Plan()
    for entry in entries:
        shuffled.add([entry.resource], entry.source, entry.owner)
    assert shuffled.text() == made.text()
    assert shuffled.digest() == made.digest()
    assert script(shuffled) == script(made)


@given(plans(), st.data())
@settings(max_examples=30)
def test_a_second_claim_names_both_sources(made: Plan, data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from(list(made)))
    with pytest.raises(PodwireError) as refused:
        made.add([entry.resource], "the second room")
    text = str(refused.value)
    assert entry.source in text
    assert "the second room" in text
    assert line(entry.resource).partition("\n")[0] in text


@given(plans())
@settings(max_examples=30)
def test_steps_come_in_one_order(made: Plan) -> None:
    nothing = Plan()
    observed = state(kernel_with(made), made)
    first = [str(op) for op in diff(nothing, observed, made)]
    assert first == [str(op) for op in diff(nothing, dict(observed), made)]
    assert all(text.startswith("- ") for text in first)


def test_an_optional_setting_that_the_kernel_lacks_is_not_asked_for_again() -> None:
    made = plan("none")
    optional = Sysctl("n1", "net/bridge/bridge-nf-call-iptables", "1", True)
    assert made.get(optional.key) == optional
    machine = kernel_with(made)
    assert optional.key not in state(machine, made)
    assert diff(made, state(machine, made), made) == []


def test_a_refusal_to_stay_converged_names_what_is_left() -> None:
    class Stubborn(FakeKernel):
        """Forgets one address each time."""

        def apply(self, ops: Any) -> None:
            super().apply(ops)
            self.spaces["n1-p1"].tables.pop(("n1-p1", "addr", "eth0 10.244.0.2/24"))

    made = plan("none")
    with pytest.raises(
        PodwireError, match=r"n1-p1 addr eth0 10.244.0.2/24.*missing after 3 rounds"
    ):
        converge(Stubborn(), made, Plan())


def test_expected_state_is_neither_made_nor_removed() -> None:
    made = Plan()
    made.add([Netns("n1"), Interface("n1", "lo", True, 65536)], "test")
    route = Route("n1", "10.9.0.0/16", "", "lo", scope="link", proto="bird")
    made.add([route], "a daemon", "expected")
    machine = kernel_with(made)
    assert [str(f) for f in deviations(made, state(machine, made))] == [f"missing: {line(route)}"]
    machine.by_hand(route)
    empty = Plan()
    empty.add([Netns("n1"), Interface("n1", "lo", True, 65536)], "test")
    assert diff(empty, state(machine, made), made) == []
