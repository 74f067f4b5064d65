"""What a kernel does with IPsec's policies and states."""

from __future__ import annotations

from collections.abc import Iterable

from kernel_scenarios import A, Scenario, change, make, remove

from emulator.plan.xfrm import Selector, Template, XfrmPolicy, XfrmState

POLICY = XfrmPolicy(
    "a",
    "out",
    Selector("10.1.0.0/24", "10.2.0.0/24"),
    Template("10.0.0.1", "10.0.0.2", "tunnel", 11),
)
MARKED = XfrmPolicy(
    "a",
    "out",
    Selector("10.0.0.1/32", "10.0.0.2/32", "udp", 0, 6784),
    Template("10.0.0.1", "10.0.0.2", "transport", 0, 0x1234),
    0,
    0x20000,
    0x20000,
)
POLICY6 = XfrmPolicy(
    "a", "fwd", Selector("fd01::/64", "fd02::/64"), Template("fd00::1", "fd00::2", "tunnel", 11)
)
STATE = XfrmState("a", "10.0.0.1", "10.0.0.2", 0x1234, "transport", "ab" * 36)
WIDE = STATE._replace(spi=0x1235, esn=True, replay_window=256)
TUNNELLED = STATE._replace(
    spi=0x1236, mode="tunnel", reqid=11, secret="cd" * 20, replay_window=32,
    output_mark=0x10, output_mask=0xFF, selector=Selector("10.1.0.0/24", "10.2.0.0/24", "tcp"),
)  # fmt: skip


def _scenarios_of_policies() -> Iterable[Scenario]:
    s = Scenario
    others = (POLICY._replace(dir="in"), POLICY._replace(dir="fwd"), MARKED, POLICY6)
    yield s("xfrm: policies of each direction", A, make(POLICY, *others))
    yield s("xfrm: a policy twice", (*A, POLICY), make(POLICY), "EEXIST")
    bare = MARKED._replace(mark=0, mask=0)
    yield s("xfrm: a policy with a mark and one without", (*A, MARKED), make(bare))
    elsewhere = POLICY._replace(template=POLICY.template._replace(dst="10.0.0.9"), priority=5)
    yield s("xfrm: a policy changes", (*A, POLICY), (change(POLICY, elsewhere),))
    yield s("xfrm: a policy goes", (*A, POLICY, MARKED), remove(MARKED))
    yield s("xfrm: no such policy to remove", A, remove(POLICY), "ENOENT")
    yield s("xfrm: no policy of that mark to remove", (*A, MARKED), remove(bare), "ENOENT")


def _scenarios_of_states() -> Iterable[Scenario]:
    s = Scenario
    another = STATE._replace(secret="00" * 36)
    marked = STATE._replace(mark=1, mask=1)
    yield s("xfrm: states", A, make(STATE, WIDE, TUNNELLED))
    yield s("xfrm: a state twice", (*A, STATE), make(another), "EEXIST")
    yield s("xfrm: a state with a mark beside one without", (*A, STATE), make(marked), "EEXIST")
    yield s("xfrm: a state without a mark beside one with", (*A, marked), make(STATE))
    yield s("xfrm: a state goes", (*A, STATE, WIDE), remove(STATE))
    yield s("xfrm: no such state to remove", A, remove(STATE), "ESRCH")
    short = STATE._replace(secret="ab" * 30)
    yield s("xfrm: a key of another length", A, make(short), "EINVAL")
    windowless = WIDE._replace(replay_window=0)
    yield s("xfrm: long numbers without a window", A, make(windowless), "EINVAL")
    yield s("xfrm: another key", (*A, STATE), (*remove(STATE), *make(another)))


SCENARIOS = {
    scenario.name: scenario for scenario in (*_scenarios_of_policies(), *_scenarios_of_states())
}
