"""A running lab becomes another one on the real kernel, and leaves nothing behind."""

from __future__ import annotations

import os

import pytest
from small_plans import plan
from world import FILES, NAMES, in_a_world, kernel

from emulator.plan import Plan, deviations
from emulator.plan.converge import converge
from emulator.spec.medium import Rate
from emulator.substrate.kernel import Kernel

pytestmark = pytest.mark.kernel


def left_over(machine: Kernel, *plans: Plan) -> list[str]:
    """How the kernel deviates from the last plan; sysctls and files of all plans are read."""
    known = [entry.resource for one in plans for entry in one]
    settings = {r.key for r in known if r.kind == "sysctl"}  # of devices that stay: not taken back
    return [
        str(f)
        for f in deviations(plans[-1], machine.observe(known))
        if not (f.problem == "extra" and f.found and f.found.key in settings)
    ]


def holdings() -> dict[str, int]:
    """What this process and its world hold."""
    return {
        "names": len(os.listdir(NAMES)),
        "files": sum(len(names) for _, _, names in os.walk(FILES)),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


def test_backends_are_switched_on_the_live_lab() -> None:
    vxlan = plan(nodes=3, pods=2)
    host_gw = plan(backend="host-gw", nodes=3, pods=2)

    def body() -> None:
        with kernel() as machine:
            converge(machine, vxlan, Plan())
            before = holdings()
            for desired, owned in ((host_gw, vxlan), (vxlan, host_gw)) * 2:
                assert converge(machine, desired, owned)
                assert left_over(machine, owned, desired) == []
                assert converge(machine, desired, owned) == []
            assert holdings() == before

    in_a_world(body)


@pytest.mark.parametrize(
    ("name", "other"),
    {
        "racks and MTU": lambda: plan(nodes=("rack-b", "rack-a", "rack-b"), mtu=9000),
        "no network": lambda: plan("none", nodes=1),
        "host": lambda: plan("host"),
        "tbf": lambda: plan(rate=Rate(10**8, "tbf"), offload="off"),
        "htb, nftables": lambda: plan(rate=Rate(10**8, "htb"), enableNFTables=True),
        "both families": lambda: plan(families="46"),
        "IPv6 alone": lambda: plan(backend="host-gw", families="6", pods=2),
        "IPv6 and another plugin": lambda: plan("canal", families="64"),
        "VNI and port": lambda: plan(vni=7, port=4789, directRouting=True),
    }.items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_lab_becomes_another_and_returns(name: str, other: object) -> None:
    first, second = plan(pods=2), other()  # type: ignore[operator]

    def body() -> None:
        with kernel() as machine:
            converge(machine, first, Plan())
            before = holdings()
            converge(machine, second, first)
            assert left_over(machine, first, second) == []
            converge(machine, first, second)
            assert left_over(machine, second, first) == []
            assert holdings() == before

    in_a_world(body)


def test_shaped_links_change_rate_and_discipline() -> None:
    shapes = [Rate(rate, by) for rate in (10**8, 10**9) for by in ("tbf", "htb")]
    plans = [plan("host", rate=shape) for shape in (*shapes, None, *reversed(shapes))]

    def body() -> None:
        with kernel() as machine:
            owned = Plan()
            for desired in plans:
                converge(machine, desired, owned, rounds=1)
                assert left_over(machine, desired) == []
                owned = desired

    in_a_world(body)


def test_a_pod_comes_and_goes_twenty_times() -> None:
    fewer, more = plan(pods=1), plan(pods=2)

    def body() -> None:
        with kernel() as machine:
            converge(machine, fewer, Plan())
            low = holdings()
            converge(machine, more, fewer)
            high = holdings()
            assert low["names"] + 2 == high["names"]
            for _ in range(20):
                converge(machine, fewer, more)
                assert holdings() == low
                converge(machine, more, fewer)
                assert holdings() == high
            assert left_over(machine, fewer, more) == []

    in_a_world(body)


def test_a_node_comes_and_goes_with_its_files() -> None:
    two, three = plan(nodes=2), plan(nodes=3)

    def body() -> None:
        with kernel() as machine:
            converge(machine, two, Plan())
            low = holdings()
            for _ in range(3):
                converge(machine, three, two)
                converge(machine, two, three)
                assert holdings() == low
                assert left_over(machine, three, two) == []

    in_a_world(body)


def test_what_somebody_made_by_hand_stays_on_the_real_kernel() -> None:
    vxlan, host_gw = plan(), plan(backend="host-gw")

    def body() -> None:
        with kernel() as machine:
            converge(machine, vxlan, Plan())
            os.system("ip -n n1 route add 203.0.113.0/24 dev cni0")
            os.system("ip netns exec n1 nft add table inet mine")
            os.system("ip -n n1 link add mine type bridge")
            converge(machine, host_gw, vxlan)
            extra = [f for f in left_over(machine, vxlan, host_gw)]
            assert all(text.startswith("extra: n1 ") for text in extra)
            assert {text.split()[2] for text in extra} == {"route", "nft", "bridge", "interface"}

    in_a_world(body)
