"""What is said of links: which word counts, what it becomes, and what is predicted over them."""

from __future__ import annotations

import errno
from math import log
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from small_plans import plan, spec

from emulator.compile import compile_spec
from emulator.datapath.shaping import impair, shape, shaped
from emulator.errors import Unsupported
from emulator.ipam import allocate
from emulator.oracle import Probe, predict
from emulator.oracle.chance import Chances
from emulator.plan import diff
from emulator.plan.resources import Cutter, Netem, Qdisc, cutter_burst_b
from emulator.spec import load_text
from emulator.spec.limits import RATE_BITS, SLOWEST_BITS
from emulator.spec.link_values import LONGEST_JITTER_US
from emulator.spec.media import media
from emulator.spec.medium import CERTAIN, Delay, Ends, Loss, Medium, Rate, Reorder
from emulator.spec.resolved import Links, ResolvedSpec
from emulator.substrate import netem, rtnl, shaper
from emulator.substrate.netlink import attributes
from emulator.substrate.refusal import refused

LINKS = Links(1500, "wire")
LATE, LATER = Medium(delay=Delay(10_000)), Medium(delay=Delay(20_000))
DEAF = Medium(loss=Loss(CERTAIN))

TEXT = """\
apiVersion: podwire/v1
kind: Cluster
metadata: {name: links}
spec:
  network: {plugin: flannel}
  underlay:
    links: {delay: 10ms, loss: 1%}
    segments:
      near: {cidr: 192.168.1.0/24, delay: 20ms, ingress: {delay: 25ms}}
      line: {cidr: 10.0.0.0/31}
      far: {cidr: 192.168.2.0/24, switches: {w1: {}, w2: {uplink: w1, loss: 3%}}}
    routers:
      a: {segments: [near, line], links: {line: {egress: {rate: 1mbit}}, near: {delay: 1ms}}}
      b: {segments: [line, far]}
  nodes:
    - {name: n1, segment: near, delay: 30ms, egress: {loss: 0%}}
    - {name: n2, segment: far, switch: w2, ingress: {rate: 5mbit}}
"""


def test_the_narrowest_place_counts_and_in_it_the_way() -> None:
    ways = media(load_text(TEXT))
    n1 = ways["n1", "eth0"]
    assert n1.egress == Medium(delay=Delay(30_000))
    assert n1.ingress == Medium(delay=Delay(30_000), loss=Loss(10**7))
    assert ways["a", "eth0"].ingress.delay == Delay(1_000)
    n2 = ways["n2", "eth0"]
    assert n2.egress == Medium(delay=Delay(10_000), loss=Loss(10**7))
    assert n2.ingress == n2.egress._replace(rate=Rate(5_000_000, "tbf"))
    assert ways["w2", "eth1"].egress.loss == ways["w2", "eth1"].ingress.loss == Loss(3 * 10**7)


def test_a_point_to_point_link_delays_once_each_way() -> None:
    ways = media(load_text(TEXT))
    a, b = ways["a", "eth1"], ways["b", "eth0"]
    assert a.egress == b.egress._replace(rate=Rate(1_000_000, "tbf"))
    assert b.egress.delay == Delay(10_000)
    assert a.ingress == b.ingress == Medium()
    made = compile_spec(load_text(TEXT))
    assert not [e for e in made if e.resource.ns == "line" and type(e.resource) in (Netem, Qdisc)]


def test_a_rate_alone_needs_no_netem() -> None:
    cutter, only = shaped("n1", "eth0", Medium(Rate(10**8, "tbf"), Delay(0), Loss(0)), LINKS)
    assert cutter == Cutter("n1", "eth0", 1600)
    assert only == Qdisc("n1", "eth0", "tbf", 10**8, 68000, 380500, "9:1")


def test_the_shaper_stands_below_netem_and_is_the_same_as_alone() -> None:
    rate = Rate(10**8, "htb")
    cutter, alone = shaped("n1", "eth0", Medium(rate), LINKS)
    first, above, below = shaped("n1", "eth0", LATE._replace(rate=rate), LINKS)
    assert first == cutter
    assert isinstance(above, Netem) and isinstance(below, Qdisc)
    assert (above.parent, above.handle, below.parent) == ("9:1", "10:", "10:1")
    assert below._replace(parent="9:1") == alone


@pytest.mark.parametrize("offload", ["full", "off"])
def test_what_is_to_stay_whole_or_is_single_frames_is_not_cut(
    offload: Literal["full", "off"],
) -> None:
    links = LINKS._replace(offload=offload)
    (alone,) = shaped("n1", "eth0", Medium(Rate(10**8, "tbf")), links)
    above, below = shaped("n1", "eth0", LATE._replace(rate=Rate(10**8, "tbf")), links)
    assert (alone.parent, above.parent, below.parent) == ("", "", "10:1")  # type: ignore[union-attr]


@given(st.integers(68, 65535))
def test_a_cutter_lets_every_frame_pass_and_no_two(mtu: int) -> None:
    links = LINKS._replace(mtu=mtu)
    cutter, _ = shaped("n1", "eth0", Medium(Rate(10**8, "tbf")), links)
    assert isinstance(cutter, Cutter)
    assert cutter_burst_b(cutter) >= mtu + 14
    assert cutter_burst_b(cutter) < 2 * mtu or mtu < 614
    message = shaper.cutter(cutter, lambda ns, name: 7, True)
    assert [*shaper.read("n1", [(message.kind, message.body)], [], {7: "eth0"})] == [cutter]


disciplines = st.sampled_from(["tbf", "htb"])
rates = st.builds(Rate, st.integers(SLOWEST_BITS, max(RATE_BITS.values())), disciplines)


@example(Rate(SLOWEST_BITS, "tbf"), 65535, False)
@example(Rate(SLOWEST_BITS, "htb"), 65535, False)
@given(rates, st.integers(68, 65535), st.booleans())
def test_every_rate_is_one_that_the_kernel_can_be_told_and_tells(
    rate: Rate, mtu: int, late: bool
) -> None:
    above = [Netem("n1", "eth0", 1000, 1)] if late else []
    one = shape("n1", "eth0", rate, mtu)._replace(parent="10:1" if late else "")
    told = [netem.message(r, lambda ns, name: 7, True) for r in above]
    told += shaper.qdisc(one, lambda ns, name: 7, True)
    dump = [(m.kind, m.body) for m in told if m.kind == rtnl.RTM_NEWQDISC]
    classes = [(m.kind, m.body) for m in told if m.kind == rtnl.RTM_NEWTCLASS]
    assert [*shaper.read("n1", dump, classes, {7: "eth0"})] == [*above, one]


@given(st.integers(SLOWEST_BITS, max(RATE_BITS.values())))
def test_a_queue_is_as_long_by_htb_as_by_tbf(bits: int) -> None:
    tbf, htb = (shape("n1", "eth0", Rate(bits, by), 1500) for by in ("tbf", "htb"))
    assert htb == tbf._replace(discipline="htb")
    assert abs(8 * (tbf.limit_b - tbf.burst_b) - bits * 0.025) <= 16


@pytest.mark.parametrize(
    ("medium", "packets"),
    [
        (Medium(loss=Loss(1)), 1000),
        (LATE, 1000 + 10_000),  # a million small packets a second are the most
        (Medium(Rate(48_000_000, "tbf"), Delay(100_000)), 1000 + 10_000),  # 480 bits each
        (Medium(Rate(48_000_000, "tbf"), Delay(50_000, 12_500, "normal")), 1000 + 10_000),
    ],
)
def test_netem_holds_what_is_on_its_way(medium: Medium, packets: int) -> None:
    assert impair("n1", "eth0", medium, LINKS).limit_p == packets


losses = st.builds(
    Loss, st.integers(1, CERTAIN - 1), st.integers(1, CERTAIN - CERTAIN // 1000)
)  # fmt: skip


@given(losses)
def test_losses_in_bursts_keep_the_long_run(loss: Loss) -> None:
    begin, end = impair("n1", "eth0", Medium(loss=loss), LINKS).gilbert_ppb
    assert abs(begin - loss.ppb * (begin + end) / CERTAIN) <= 2
    assert abs(CERTAIN - begin - end - loss.correlation_ppb) <= 2


chances = st.integers(0, CERTAIN)
netems = st.builds(
    Netem,
    st.just("n1"),
    st.just("eth0"),
    st.integers(1, 10**6),
    st.integers(0, 10**7),
    st.integers(0, LONGEST_JITTER_US),
    st.sampled_from(["uniform", "normal", "pareto"]),
    st.just(0),
    st.just((0, 0)),
    duplicate_ppb=chances,
    reorder_ppb=chances,
    gap=st.integers(0, 100),
    corrupt_ppb=chances,
    parent=st.sampled_from(["", "9:1"]),
)


@given(netems, chances, st.tuples(st.integers(1, CERTAIN), chances), st.booleans())
def test_what_the_kernel_is_told_reads_as_it_was(
    bare: Netem, loss: int, burst: tuple[int, int], bursts: bool
) -> None:
    one = bare._replace(gilbert_ppb=burst) if bursts else bare._replace(loss_ppb=loss)
    body = netem.message(one, lambda ns, name: 7, True).body
    handle = int.from_bytes(body[8:12], "little")
    options = attributes(body, 20)[rtnl.TCA_OPTIONS]
    assert netem.read("n1", "eth0", handle, options, one.parent) == one


def test_another_delay_is_one_operation_and_in_place() -> None:
    rate = Rate(10**8, "tbf")
    before = plan(ends=Ends(egress=LATE._replace(rate=rate)))
    after = plan(ends=Ends(egress=LATER._replace(rate=rate)))
    ops = diff(after, {e.resource.key: e.resource for e in before}, before)
    assert {(op.action, op.resource.kind) for op in ops} == {("change", "netem")}
    assert [op.resource.ns for op in ops] == ["core1", "n1", "n2", "out1"]


def test_another_distribution_is_another_qdisc_with_all_below_it() -> None:
    rate = Rate(10**8, "tbf")
    one = Medium(rate, Delay(10_000, 1000, "normal"))
    other = Medium(rate, Delay(10_000, 1000, "pareto"))
    before, after = plan(ends=Ends(egress=one)), plan(ends=Ends(egress=other))
    ops = diff(after, {e.resource.key: e.resource for e in before}, before)
    on_n1 = [(op.action, op.resource.kind) for op in ops if op.resource.ns == "n1"]
    assert on_n1 == [("delete", "netem"), ("create", "netem"), ("create", "qdisc")]


def test_a_kernel_without_netem_names_what_is_missing() -> None:
    error = refused(Netem("n1", "eth0", 1000, 10_000), errno.ENOENT, "kind is unknown")
    assert isinstance(error, Unsupported) and error.exit_code == 3
    assert "sch_netem" in str(error) and "--on vm" in str(error)


# --- predictions ---------------------------------------------------------------------------


def with_node(egress: Medium = Medium(), ingress: Medium = Medium()) -> ResolvedSpec:  # noqa: B008
    """Three nodes of which the first has an odd cable."""
    made = spec(backend="host-gw", nodes=3)
    first, *others = made.nodes
    ends = Ends(egress=egress, ingress=ingress)
    return made._replace(nodes=(first._replace(ends=ends), *others))


def outcomes(made: ResolvedSpec) -> dict[tuple[str, str], tuple[str, str]]:
    matrix = predict(made, allocate(made))
    return {
        (probe.client, probe.server): (found.outcome, found.reason)
        for probe, found in matrix.items()
        if probe.kind == "pod-pod"
    }


@pytest.mark.parametrize(("way", "does"), [("egress", "sends"), ("ingress", "is sent")])
def test_a_cable_that_loses_all_is_a_fault(way: str, does: str) -> None:
    found = outcomes(with_node(**{way: DEAF}))
    why = f"the cable at n1:eth0 loses all that it {does}"
    assert found["n1-p1", "n2-p1"] == ("lost", why)
    assert found["n2-p1", "n1-p1"] == ("lost", why)
    assert found["n2-p1", "n3-p1"][0] == "delivered"


def test_what_comes_by_chance_is_not_predicted() -> None:
    found = outcomes(with_node(Medium(loss=Loss(CERTAIN // 2))))
    assert found["n1-p1", "n2-p1"][0] == "by-chance"
    assert "50.0% of round trips" in found["n1-p1", "n2-p1"][1]
    assert found["n2-p1", "n3-p1"][0] == "delivered"


def test_damage_of_all_is_no_fault_but_chance() -> None:
    """What is damaged in one bit may still be understood."""
    found = outcomes(with_node(Medium(corrupt_ppb=CERTAIN)))
    assert found["n1-p1", "n2-p1"][0] == "by-chance"


def test_a_router_that_loses_all_one_way_breaks_both() -> None:
    text = TEXT.replace("egress: {rate: 1mbit}", "egress: {loss: 100%}")
    made = load_text(text + "  pods: {perNode: 1}\n")
    matrix = predict(made, allocate(made))
    there = matrix[Probe("pod-pod", "n2-p1", "n1-p1", allocate(made).pod["n1-p1"])]
    assert (there.outcome, there.reason) == (
        "lost",
        "the cable at a:eth1 loses all that it sends",
    )


USUAL = (0.2, 0.3, 0.5)


def test_probes_wait_as_ever_where_links_are_bare() -> None:
    assert Chances(spec()).waits_s(USUAL, 1000) == USUAL
    assert Chances(spec(rate=Rate(10**6, "tbf"))).waits_s(USUAL, 1000) == USUAL


def test_probes_wait_for_delays() -> None:
    """There and back through both cables, and as long again for each look for a neighbour."""
    made = spec(nodes=2, ends=Ends(Medium(delay=Delay(100_000))))
    routers = 2 * 0.2  # of the one router's two cables at most, there and back
    for wait, usual in zip(Chances(made).waits_s(USUAL, 10), USUAL, strict=True):
        assert wait == pytest.approx(usual + 3 * (2 * 0.2 + routers / 2))


@given(st.integers(1, 60_000_000), st.integers(1, 10_000))
def test_probes_are_repeated_until_chance_is_out_of_the_question(loss: int, probes: int) -> None:
    made = with_node(Medium(loss=Loss(loss)))
    waits = Chances(made).waits_s(USUAL, probes)
    wrong = (1 - (1 - loss / CERTAIN) ** 2) ** len(waits)
    assert log(wrong) + log(4 * probes) <= log(1e-6) + 1e-9
    assert all(wait > 1.0 for wait in waits)


def test_only_netem_is_told_of_reordering_without_gap() -> None:
    reorder = LATE._replace(reorder=Reorder(CERTAIN // 4))
    made = impair("n1", "eth0", reorder, LINKS)
    assert (made.reorder_ppb, made.gap) == (CERTAIN // 4, 1)
    assert impair("n1", "eth0", LATE, LINKS).gap == 0
