"""Overrides: values set from outside of the file."""

from __future__ import annotations

import pytest

from emulator.errors import SpecError
from emulator.spec import load_text, parse_sets

TEXT = """\
apiVersion: podwire/v1
kind: Cluster
metadata: {name: x}
spec:
  network: {plugin: flannel, backend: vxlan, directRouting: true}
  underlay:
    segments:
      rack-a: {cidr: 192.168.1.0/24}
      rack-b: {cidr: 192.168.2.0/24}
    routers: {core: {segments: [rack-a, rack-b]}}
  nodes:
    - {name: a, segment: rack-a}
    - {name: b, segment: rack-b}
"""


def refusal(overrides: dict[str, object]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_text(TEXT, "x.yaml", overrides)
    return [str(problem).split("\n")[0] for problem in caught.value.problems]


def test_a_value_on_a_way_that_is_not_in_the_file() -> None:
    links = load_text(TEXT, overrides={"spec.underlay.links.mtu": 9000}).links
    assert (links.mtu, links.offload) == (9000, "wire")


def test_a_mapping_replaces_what_was_there() -> None:
    network = load_text(TEXT, overrides={"spec.network": {"plugin": "none"}}).network
    assert (network.plugin, network.options) == ("none", ())
    assert str(network.place) == "--set spec.network"


def test_an_index_selects_from_a_list_or_appends_to_it() -> None:
    overrides = {"spec.nodes.1.segment": "rack-a", "spec.nodes.2": {"name": "c"}}
    overrides["spec.nodes.2.segment"] = "rack-b"
    spec = load_text(TEXT, overrides=overrides)
    assert [(n.name, n.segment) for n in spec.nodes] == [
        ("a", "rack-a"),
        ("b", "rack-a"),
        ("c", "rack-b"),
    ]


def test_overrides_leave_the_file_where_it_was() -> None:
    spec = load_text(TEXT, "x.yaml", {"spec.network.vni": 7})
    assert str(spec.network.place) == "x.yaml:5:3: spec.network"
    assert spec.network.option("vni") == 7


def test_an_override_of_an_anchor_leaves_its_aliases() -> None:
    text = TEXT.replace("[rack-a, rack-b]", "&both [rack-a, rack-b]")
    text = text.replace("    routers: {", "    routers: {edge: {segments: [rack-a]}, ")
    text = text.replace(
        "edge: {segments: [rack-a]}, core: {segments: &both [rack-a, rack-b]}",
        "core: &r {segments: [rack-a, rack-b]}, edge: *r",
    )
    spec = load_text(text, overrides={"spec.underlay.routers.edge.segments": ["rack-a"]})
    assert [r.segments for r in spec.routers] == [("rack-a", "rack-b"), ("rack-a",)]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("spec.network.backend", "hostgw", 'spec.network.backend: found "hostgw", expected one of'),
        ("spec.network.backand", "vxlan", "spec.network.backand: found the unknown field"),
        ("network.backend", "vxlan", 'network: found the unknown field "network", expected one'),
        ("spec.underlay.links.mtu", "9000", 'spec.underlay.links.mtu: found "9000", expected a'),
        ("spec.underlay.links.rate", "9gbit", "spec.underlay.links.rate: found 9gbit with offload"),
        ("spec.network.plugin.name", "x", 'spec.network.plugin.name: found "flannel" on the way'),
        (
            "spec.nodes.5.name",
            "x",
            "spec.nodes.5.name: found a list on the way, expected a mapping",
        ),
        ("spec.nodes.0.segment", "r", 'spec.nodes[0].segment: found "r", which is no segment'),
        ("spec..links", 1, "spec..links: found an empty part of the path"),
        ("spec.network.backend", None, "spec.network.backend: found nothing, expected a value"),
        (
            "spec.underlay.links",
            {"mtu": 1},
            "spec.underlay.links.mtu: found the number 1, expected",
        ),
        ("spec.nodes", {"spread": ["rack-a"]}, "spec.nodes.count: found nothing, expected the"),
        ("spec.nodes", object(), "spec.nodes: found"),
    ],
)
def test_problems_of_an_override_have_its_place(path: str, value: object, message: str) -> None:
    assert refusal({path: value})[0].startswith(f"--set {message}")


def test_a_backend_that_the_rest_of_the_file_does_not_fit() -> None:
    first, second = refusal({"spec.network.backend": "host-gw"})
    assert first.startswith("--set spec.network.backend: found backend host-gw with nodes in 2")
    assert second.startswith("x.yaml:5:46: spec.network.directRouting: found the option")


def test_texts_of_a_command_line() -> None:
    assert parse_sets(
        [
            "spec.underlay.links.mtu=9000",
            "spec.underlay.links.offload=off",
            "spec.network={plugin: flannel, backend: host-gw}",
            "spec.network.ipMasq=false",
            "metadata.name='9'",
            "a=b=c",
        ]
    ) == {
        "spec.underlay.links.mtu": 9000,
        "spec.underlay.links.offload": "off",
        "spec.network": {"plugin": "flannel", "backend": "host-gw"},
        "spec.network.ipMasq": False,
        "metadata.name": "9",
        "a": "b=c",
    }


def test_texts_that_set_nothing() -> None:
    with pytest.raises(SpecError) as caught:
        parse_sets(["spec.nodes", "=1", "a={", "b={c: yes}", "good=1"])
    starts = ["--set spec.nodes: found no value", "--set =1: found no value"]
    starts += ["--set a: found a syntax error", "--set b: found yes"]
    for problem, start in zip(caught.value.problems, starts, strict=True):
        assert str(problem).startswith(start)
