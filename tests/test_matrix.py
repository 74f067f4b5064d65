"""Predicted against observed, without a lab."""

from __future__ import annotations

import pytest
from small_specs import small_spec

from emulator.ipam import allocate
from emulator.matrix import Observation, compare, grid
from emulator.oracle import Expectation, Probe, predict

SPEC = small_spec("flannel", "vxlan", hosts=(), ipMasq=True)
PREDICTED = predict(SPEC, allocate(SPEC))
ACROSS = Probe("pod-pod", "n1-p1", "n2-p1", "10.244.2.2")


def as_predicted(expected: Expectation) -> Observation:
    return Observation(*expected[:6]) if expected.mtu else Observation("lost")  # type: ignore[arg-type]


SEEN = {probe: as_predicted(expected) for probe, expected in PREDICTED.items()}


def test_nothing_to_say_when_all_is_as_predicted() -> None:
    assert compare(PREDICTED, SEEN) == []


@pytest.mark.parametrize(
    ("change", "letter", "words"),
    [
        (Observation("lost", detail="no answer"), "L", "found lost, expected an answer by n2-p1"),
        (Observation("refused", detail="10.244.2.2 says: port unreachable"), "R", "found refused"),
        (Observation("failed", detail="EPERM"), "F", "found a probe that failed: EPERM"),
        ({"by": "n1-p2"}, "W", "found an answer by n1-p2, expected an answer by n2-p1"),
        (
            {"source": "192.168.1.11"},
            "S",
            "found source 192.168.1.11 (rewritten from 10.244.1.2), expected source 10.244.1.2",
        ),
        ({"ttl": 63}, "T", "found TTL 63 at the server, expected TTL 62"),
        ({"mtu": 1400}, "M", "found path MTU 1400 bytes, expected 1450 bytes"),
        ({"silent": True}, "M", "packets of more than 1450 bytes that vanish"),
        ({"silent": True, "mtu": 0}, "M", "packets of that size that vanish"),
    ],
)
def test_one_difference(change: Observation | dict[str, object], letter: str, words: str) -> None:
    seen = change if isinstance(change, Observation) else SEEN[ACROSS]._replace(**change)
    (found,) = compare(PREDICTED, SEEN | {ACROSS: seen})
    assert (found.probe, found.letter) == (ACROSS, letter)
    assert str(found).startswith("pod n1-p1 -> pod n2-p1 (10.244.2.2): found ")
    assert words in str(found)
    assert PREDICTED[ACROSS].reason in str(found)


def test_what_the_kernel_said_is_in_the_hint() -> None:
    (found,) = compare(
        PREDICTED, SEEN | {ACROSS: Observation("lost", detail="n2 says: EHOSTUNREACH")}
    )
    assert "n2 says: EHOSTUNREACH" in str(found)


def test_delivered_though_it_should_be_lost() -> None:
    predicted = PREDICTED | {ACROSS: Expectation("lost", "", "", "", 0, 0, "the cable is cut")}
    (found,) = compare(predicted, SEEN)
    assert found.letter == "D"
    assert "found an answer by n2-p1, expected lost" in str(found)


def test_a_probe_that_was_left_out() -> None:
    (found,) = compare(PREDICTED, {p: o for p, o in SEEN.items() if p != ACROSS})
    assert found.letter == "N"


def test_several_things_of_one_probe() -> None:
    seen = SEEN[ACROSS]._replace(source="10.0.0.1", ttl=60, mtu=1300)
    assert [d.letter for d in compare(PREDICTED, SEEN | {ACROSS: seen})] == ["S", "T", "M"]


def test_grid() -> None:
    back = Probe("pod-pod", "n2-p2", "n1-p1", "10.244.1.2")
    node = Probe("node-own-pod", "n1", "n1-p1", "10.244.1.2")
    seen = SEEN | {
        ACROSS: Observation("lost"),
        back: SEEN[back]._replace(ttl=60, source="1.2.3.4"),
        node: Observation("refused"),
    }
    assert grid(SPEC, PREDICTED, seen) == (
        "        1 2 3 4\n"
        "1 n1-p1   . L .\n"
        "2 n1-p2 .   . .\n"
        "3 n2-p1 . .   .\n"
        "4 n2-p2 S . .\n"
        "pod-pod:         10 of 12 as predicted\n"
        "node-own-pod:    3 of 4 as predicted\n"
        "pod-own-node:    4 of 4 as predicted\n"
        "node-remote-pod: 4 of 4 as predicted\n"
        "pod-remote-node: 4 of 4 as predicted\n"
        "R = refused\n"
        "L = lost\n"
        "S = another source address\n"
    )


def test_grid_of_many_pods_is_by_nodes() -> None:
    spec = small_spec("flannel", "host-gw", nodes=["rack-a"] * 3, pods_per_node=14, hosts=())
    predicted = {p: e for p, e in predict(spec, allocate(spec)).items() if p.kind == "pod-pod"}
    seen = {p: as_predicted(e) for p, e in predicted.items()}
    assert grid(spec, predicted, seen).startswith("pods of 3 nodes: every pair as predicted\n")
    for server in ("n3-p1", "n3-p2"):
        probe = next(p for p in predicted if (p.client, p.server) == ("n1-p1", server))
        seen[probe] = Observation("lost")
    assert grid(spec, predicted, seen) == (
        "differences among the pods of each pair of nodes (others: none)\n"
        "   n3\n"
        "n1  2\n"
        "pod-pod:         1720 of 1722 as predicted\n"
        "L = lost\n"
    )
