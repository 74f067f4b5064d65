"""The shell script of a plan, run by a shell, leaves the kernel as ``up`` does."""

from __future__ import annotations

import os
import subprocess

import pytest
from small_plans import of_a_kernel, plan, spec
from world import FILES, NAMES, in_a_world, kernel

from emulator.compile import compile_spec
from emulator.plan import Plan, deviations
from emulator.plan.script import script
from emulator.spec.limits import SLOWEST_BITS
from emulator.spec.medium import Rate
from emulator.spec.resolved import Bandwidth

PLANS = {
    "none": lambda: plan("none"),
    "vxlan": lambda: plan(pods=2),
    "vxlan in two racks, jumbo, direct": lambda: plan(
        nodes=("rack-a", "rack-b", "rack-a"), mtu=9000, directRouting=True
    ),
    "both families in two racks": lambda: plan(nodes=("rack-a", "rack-b"), families="46"),
    "IPv6 alone, routed pods": lambda: plan("canal", families="6"),
    "host-gw with nftables": lambda: plan(backend="host-gw", enableNFTables=True),
    "kubenet, shaped": lambda: kubenet(ingress=12_345_000, egress=10**10),
    "udp": lambda: of_a_kernel(plan(backend="udp", pods=2)),
    "tbf, no offload": lambda: plan(offload="off", rate=Rate(100_000_000, "tbf")),
    "htb, full offload": lambda: plan(offload="full", rate=Rate(1_000_000_000, "htb")),
    "tbf, the slowest": lambda: plan(mtu=65535, rate=Rate(SLOWEST_BITS, "tbf")),
    "htb, the slowest": lambda: plan(mtu=65535, rate=Rate(SLOWEST_BITS, "htb")),
    "tbf, no whole bytes": lambda: plan(rate=Rate(100_001, "tbf")),
}

ELSEWHERE = {
    "the kernel's own tunnel": lambda: plan("calico", "ipip", nodes=1),
    "an ipip of its own": lambda: plan(backend="ipip", pods=0),
    "geneve of both families": lambda: plan("overlay", "geneve", pods=0, families="46"),
}
"""On a kernel that has such devices. As little else as can be: it may be an emulated one."""


def kubenet(ingress: int, egress: int) -> Plan:
    """Every pod with these limits, in bits per second."""
    bare = spec("kubenet", pods=2)
    limits = Bandwidth(ingress, egress)
    return compile_spec(bare._replace(pods=tuple(p._replace(bandwidth=limits) for p in bare.pods)))


def run(text: str) -> None:
    done = subprocess.run(
        ["sh"],
        input=text,
        env=os.environ | {"FILES": str(FILES)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def found(made: Plan) -> list[str]:
    with kernel() as machine:
        for ns in sorted(os.listdir(NAMES)):
            machine.adopt(ns, NAMES / ns)
        observed = machine.observe([entry.resource for entry in made])
    return [str(finding) for finding in deviations(made, observed)]


@pytest.mark.kernel
@pytest.mark.parametrize("name", PLANS)
def test_script_builds_the_plan(name: str) -> None:
    builds(PLANS[name]())


@pytest.mark.full_kernel
@pytest.mark.parametrize("name", ELSEWHERE)
def test_script_builds_the_plan_on_a_full_kernel(name: str) -> None:
    builds(ELSEWHERE[name]())


def builds(made: Plan) -> None:
    """The script of a plan leaves what the plan says."""

    def body() -> None:
        run(script(made))
        assert found(made) == []

    in_a_world(body)


@pytest.mark.kernel
def test_a_line_left_out_is_noticed() -> None:
    made = plan(pods=2)
    lines = script(made).splitlines(keepends=True)
    left_out = next(i for i, text in enumerate(lines) if " fdb append " in text)

    def body() -> None:
        run("".join(lines[:left_out] + lines[left_out + 1 :]))
        (finding,) = found(made)
        assert finding.startswith("missing: n1 fdb flannel.1")

    in_a_world(body)
