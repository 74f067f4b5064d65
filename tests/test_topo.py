"""Topologies of Mininet's as underlays: what they become, and what is refused of them."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

import pytest

from emulator import topo
from emulator.errors import SpecError
from emulator.spec import dump, load, load_text
from emulator.spec.medium import Ends, Rate
from emulator.spec.resolved import ResolvedSpec, Switch

SPEC = """\
apiVersion: podwire/v1
kind: Cluster
metadata: {{name: t}}
spec:
  network: {{plugin: flannel}}
  underlay: {{topo: "{topo}", args: {{{args}}}}}
"""


def loaded(tmp_path: Path, name: str, args: str = "") -> ResolvedSpec:
    file = tmp_path / "t.yaml"
    file.write_text(SPEC.format(topo=name, args=args))
    return load(file, topo=topo.read)


def written(tmp_path: Path, *lines: str) -> ResolvedSpec:
    """The cluster of a class whose ``build`` has these lines."""
    body = "".join(f"        {line}\n" for line in lines)
    head = "from mininet.topo import Topo\n\n\nclass Mine(Topo):\n    def build(self):\n"
    (tmp_path / "mine.py").write_text(head + body)
    return loaded(tmp_path, "mine.py:Mine")


def test_a_tree(tmp_path: Path) -> None:
    spec = loaded(tmp_path, "mininet.topolib:TreeTopo", "depth: 3, fanout: 2")
    (lan,) = spec.segments
    above = {switch.name: switch.uplink for switch in lan.tree}
    assert above == {
        "s1": "",
        "s2": "s1",
        "s5": "s1",
        "s3": "s2",
        "s4": "s2",
        "s6": "s5",
        "s7": "s5",
    }
    assert [(n.name, n.switch) for n in spec.nodes[:3]] == [
        ("h1", "s3"),
        ("h2", "s3"),
        ("h3", "s4"),
    ]
    assert len(spec.nodes) == 8
    again = load_text(dump(spec))  # without any class
    assert [n[:3] for n in again.nodes] == [n[:3] for n in spec.nodes]
    assert again.segments[0].switches == lan.switches


def test_a_line_and_a_single_switch(tmp_path: Path) -> None:
    line = loaded(tmp_path, "mininet.topo:LinearTopo", 'k: 3, "n": 2')
    assert line.segments[0].switches == (Switch("s1", ""), Switch("s2", "s1"), Switch("s3", "s2"))
    assert [n.name for n in line.nodes] == ["h1s1", "h1s2", "h1s3", "h2s1", "h2s2", "h2s3"]
    single = loaded(tmp_path, "mininet.topo:SingleSwitchTopo", "k: 3")
    assert single.segments[0].switches == (Switch("s1", ""),)
    assert [n.switch for n in single.nodes] == ["", "", ""]


def test_bandwidths_are_rates(tmp_path: Path) -> None:
    spec = written(
        tmp_path,
        's1, s2, h1 = self.addSwitch("s1"), self.addSwitch("s2"), self.addHost("h1")',
        "self.addLink(s1, s2, bw=100)",
        "self.addLink(h1, s2, bw=0.5, use_tbf=True)",
    )
    assert spec.segments[0].switches[1].ends.both.rate == Rate(100_000_000, "htb")
    assert spec.nodes[0].ends.both.rate == Rate(500_000, "tbf")
    assert spec.links.ends == Ends()


def test_parts_that_are_not_connected_are_segments(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(
        "from mininet.topo import Topo\n\n\nclass Two(Topo):\n    def build(self):\n"
        "        for i in '12':\n"
        "            self.addLink(self.addSwitch('s' + i), self.addHost('h' + i))\n"
    )
    made = topo.read("two.py:Two", {}, PurePath(tmp_path))
    assert {name: one["cidr"] for name, one in made["segments"].items()} == {
        "lan1": "192.168.50.0/24",
        "lan2": "192.168.51.0/24",
    }
    assert [(n["name"], n["segment"]) for n in made["nodes"]] == [("h1", "lan1"), ("h2", "lan2")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["s = self.addSwitch('s1')", "self.addLink(s, self.addHost('h1'), max_queue_size=9)"],
            "found the link s1 - h1 with max_queue_size=9, expected bw, delay, jitter, loss, or",
        ),
        (
            ["s = self.addSwitch('s1')", "self.addLink(s, self.addHost('h1', ip='10.0.0.1/8'))"],
            "found h1 with ip='10.0.0.1/8', expected a name and nothing else",
        ),
        (
            ["s, t = self.addSwitch('s1'), self.addSwitch('s2')", "h = self.addHost('h1')",
             "self.addLink(s, t); self.addLink(h, s); self.addLink(h, t)"],
            "found the host h1 with links to s1, s2, expected one link, to a switch",
        ),
        (
            ["self.addLink(self.addHost('h1'), self.addHost('h2'))"],
            "found the host h1 with links to h2",
        ),
        (
            ["s, t = self.addSwitch('s1'), self.addSwitch('s2')",
             "self.addLink(s, t); self.addLink(s, t); self.addLink(s, self.addHost('h1'))"],
            "found a loop of switches: s1 - s2 - s1, expected a tree",
        ),
        (["self.addSwitch('s1')"], "found no hosts"),
        (["1 / 0"], "found ZeroDivisionError: division by zero, expected Mine() to be made"),
        (
            ["self.addLink(self.addSwitch('s1'), self.addHost('H1'))"],
            'found "H1", expected a name of 1 to 63 lower-case letters',
        ),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_named(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        written(tmp_path, *lines)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/t.yaml:6:")


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("mininet.topolib:TorusTopo", {"x": 3, "y": 3}, "a loop of switches: s1x2 - s1x1 - s1x3"),
        ("mininet.topolib:TreeTopo", {"dept": 2}, "unexpected keyword argument 'dept'"),
        ("mininet.topolib:Tree", {}, "found nothing of that name"),
        ("mininet.topo:MultiGraph", {}, "found MultiGraph, which is none"),
        ("no.such:X", {}, "No module named 'no'"),
        ("absent.py:X", {}, "No such file"),
    ],
)
def test_classes_that_will_not_do(
    tmp_path: Path, name: str, args: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        topo.read(name, args, PurePath(tmp_path))
    assert message in str(caught.value)
