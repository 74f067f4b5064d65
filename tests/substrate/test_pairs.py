"""Which ends of cables belong together, from what the namespaces say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emulator.plan.resources import Foreign, Resource, veth
from emulator.substrate.decode import Link
from emulator.substrate.pairs import pairs


def end(number: int, name: str, peer: int, peer_ns: int) -> Link:
    return Link(number, name, "veth", True, 1500, "", 0, peer, peer_ns, {}, False)


def found(
    veths: Mapping[str, Sequence[Link]], known: Mapping[str, Mapping[str, int]]
) -> list[Resource]:
    """``known``: by which numbers each namespace knows the others."""
    asked: list[str] = []

    def numbers(ns: str, others: Sequence[str]) -> Mapping[str, int]:
        asked.append(ns)
        return {other: known[ns][other] for other in others if other in known.get(ns, {})}

    made = list(pairs(veths, numbers))
    assert len(asked) == len(set(asked)), "each namespace is asked once"
    return made


def test_the_same_indices_in_every_namespace() -> None:
    veths = {
        "n1": [end(3, "v1", 2, 0), end(4, "v2", 2, 1)],
        "n2": [end(3, "v1", 2, 0), end(4, "v2", 2, 1)],
        **{f"p{i}": [end(2, "eth0", 3 + i % 2, 0)] for i in range(4)},
    }
    known = {
        "n1": {"p0": 0, "p1": 1},
        "n2": {"p2": 0, "p3": 1},
        **{f"p{i}": {f"n{1 + i // 2}": 0} for i in range(4)},
    }
    expected = {
        veth("n1", "v1", "p0", "eth0"),
        veth("n1", "v2", "p1", "eth0"),
        veth("n2", "v1", "p2", "eth0"),
        veth("n2", "v2", "p3", "eth0"),
    }
    assert set(found(veths, known)) == expected
    assert set(found(dict(reversed(veths.items())), known)) == expected


def test_both_ends_in_one_namespace() -> None:
    veths = {"n1": [end(2, "a", 3, -1), end(3, "b", 2, -1)]}
    assert found(veths, {}) == [veth("n1", "a", "n1", "b")]


def test_an_end_whose_peer_is_outside_is_foreign() -> None:
    veths = {"n1": [end(2, "out", 9, 4)], "n2": [end(9, "other", 2, -1)]}
    assert found(veths, {"n1": {"n2": 0}}) == [
        Foreign("n1", "device", "out", "veth with its peer outside the lab"),
        Foreign("n2", "device", "other", "veth with its peer outside the lab"),
    ]


def test_indices_that_fit_by_chance_make_no_pair() -> None:
    veths = {"n1": [end(2, "x", 2, 7)], "n2": [end(2, "y", 2, 7)]}
    known = {"n1": {"n2": 0}, "n2": {"n1": 0}}
    assert {type(r) for r in found(veths, known)} == {Foreign}
