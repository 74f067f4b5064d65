"""The compiler as a whole: sources, errors, processes, growth."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_plans import plan, spec
from small_specs import HERE

from emulator.compile import compile_spec
from emulator.errors import PodwireError, SpecError
from emulator.plan.resources import Process
from emulator.spec.resolved import Container, Network, Pod

ROOT = Path(__file__).parents[1]


def test_each_resource_says_which_room_and_line_asked_for_it() -> None:
    made = plan()
    assert made.entries["n1", "device", "cni0"].source == "flannel (small.yaml:1)"
    assert made.entries["n1-p1", "netns", ""].source == "flannel (small.yaml:1): pod n1-p1"
    assert made.entries["n1", "device", "eth0"].source == "underlay: n1"
    assert {entry.owner for entry in made} == {"applied"}


def test_two_things_of_one_name_are_refused_with_both_sources() -> None:
    found = spec()
    first = found.nodes[0]
    twin = Pod("n2", "default", first.name, (), False, "Always", (), HERE)
    with pytest.raises(PodwireError) as refused:
        compile_spec(found._replace(pods=(*found.pods, twin)))
    (problem,) = refused.value.problems
    assert "'n2 netns' from underlay and 'n2 netns' from flannel" in str(problem)


def test_an_unknown_plugin_is_bad_input() -> None:
    found = spec()._replace(network=Network("cilium", "", (), HERE))
    with pytest.raises(SpecError, match="no room for plugin 'cilium'"):
        compile_spec(found)


def test_too_few_addresses_are_bad_input() -> None:
    with pytest.raises(SpecError, match="podCIDR"):
        compile_spec(spec()._replace(pod_cidrs=("10.244.0.0/25",)))


def test_commands_of_a_pod_become_processes_of_its_namespace() -> None:
    containers = (
        Container("web", ("serve", "--port", "80"), (("MODE", "a b"),)),
        Container("idle", (), ()),
    )
    found = spec(pods=0)
    pods = [
        Pod("web", "team", "n1", (), False, "OnFailure", containers, HERE),
        Pod("agent", "default", "n2", (), True, "Always", containers, HERE),
    ]
    made = compile_spec(found._replace(pods=tuple(pods)))
    assert [e.resource for e in made if type(e.resource) is Process] == [
        Process("team.web", "team.web/web", containers[0].command, containers[0].env, "OnFailure"),
        Process("n2", "agent/web", containers[0].command, containers[0].env, "Always"),
    ]
    assert ("agent", "netns", "") not in made.entries
    text = "team.web process team.web/web restart OnFailure: MODE='a b' serve --port 80"
    assert text in made.text().split("\n")


def test_garbage_collection_is_left_as_it_was() -> None:
    assert gc.isenabled()
    compile_spec(spec())
    assert gc.isenabled()
    gc.disable()
    try:
        compile_spec(spec())
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_one_spec_gives_one_text_in_every_process() -> None:
    program = "from small_plans import plan; print(plan(nodes=3, pods=2).digest())"
    paths = f"{ROOT}:{ROOT / 'tests'}"
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {plan(nodes=3, pods=2).digest()}


def test_plans_grow_with_pods_and_with_pairs_of_nodes() -> None:
    def size(nodes: int, pods: int) -> int:
        return len(plan(nodes=nodes, pods=pods))

    assert size(2, 20) - size(2, 10) == size(2, 30) - size(2, 20)
    first, second, third = (size(n, 0) for n in (10, 20, 30))
    assert third - 2 * second + first == 3 * 2 * 10 * 10  # a neighbour, an entry, a route a pair
