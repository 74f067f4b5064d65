"""Predicted against observed: the differences in words, and the matrix as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from emulator.errors import Problem
from emulator.oracle import Expectation, Probe
from emulator.spec.resolved import ResolvedSpec

LETTERS: Final[Mapping[str, str]] = {
    "F": "the probe itself failed",
    "N": "not probed",
    "R": "refused",
    "L": "lost",
    "D": "delivered, though it should not be",
    "W": "answered by another one",
    "S": "another source address",
    "T": "another TTL",
    "M": "another path MTU",
}
"""What can differ, the gravest first: the letter of a grid's cell is its first one here."""

OPEN = ("by-hash", "by-chance")
"""What is delivered or lost, and both is as predicted."""

WIDEST = 40
"""Pods up to which the grid has a cell for each pair."""


Found = Literal["delivered", "lost", "refused", "failed"]


class Observation(NamedTuple):
    """What a probe found.

    ``by`` is the namespace that answered, ``source`` the client's address as seen there
    and ``own`` as the client sees it, ``ttl`` what was left of 64 at the server. ``mtu``
    is the largest IP packet that passed, in bytes, 0 where none was tried or none passed;
    ``silent`` that larger ones vanished without a word to the sender. ``detail`` says
    what else is known: who complained of what, or which error of the kernel made the
    probe fail.
    """

    outcome: Found
    by: str = ""
    source: str = ""
    own: str = ""
    ttl: int = 0
    mtu: int = 0
    silent: bool = False
    detail: str = ""


class Difference(NamedTuple):
    """One thing about one probe that is not as predicted; ``letter`` as in :data:`LETTERS`."""

    probe: Probe
    letter: str
    problem: Problem

    def __str__(self) -> str:
        return str(self.problem)


def table(matrix: Mapping[Probe, Expectation | Observation]) -> str:
    """A matrix as text, one line for each probe: what was sent, and what comes of it."""
    rows = []
    for probe, value in matrix.items():
        found: str = value.outcome
        if value.outcome in ("delivered", *OPEN):
            source = f"{value.own} as {value.source}" if value.own != value.source else value.own
            found = f"{value.by} sees {source}, ttl {value.ttl}, mtu {value.mtu}"
        if value.outcome in OPEN:
            found = f"lost, or {found}"
        words = value.reason if isinstance(value, Expectation) else value.detail
        rows.append((str(probe), probe.address, found, words))
    wide = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    return "".join(
        "  ".join([*(row[i].ljust(wide[i]) for i in range(3)), row[3]]).rstrip() + "\n"
        for row in rows
    )


def compare(
    predicted: Mapping[Probe, Expectation], observed: Mapping[Probe, Observation]
) -> list[Difference]:
    """Every difference, in the order of the prediction.

    A probe that is predicted as not to be probed, or not at all, is left out. The path MTU
    counts where one was tried.
    """
    found: list[Difference] = []
    for probe, expected in predicted.items():
        if expected.outcome in ("not-probed", "not-predicted"):
            continue
        seen = observed.get(probe)
        # Made only where something differs: thousands of probes are as predicted.
        for letter, what, instead in _differences(expected, seen):
            hint = expected.reason
            if seen and seen.detail and seen.outcome != "delivered":
                hint += f" (prediction). {seen.detail} (observation)"
            problem = Problem(f"{probe} ({probe.address})", what, instead, hint)
            found.append(Difference(probe, letter, problem))
    return found


def _differences(expected: Expectation, seen: Observation | None) -> Iterable[tuple[str, str, str]]:
    """(letter, found, expected) of each difference."""
    if seen is None:
        return [("N", "no probe", _outcome(expected))]
    if seen.outcome == "failed":
        return [("F", f"a probe that failed: {seen.detail}", _outcome(expected))]
    open_ = expected.outcome in OPEN and seen.outcome in ("delivered", "lost")
    if seen.outcome != expected.outcome and not open_:
        letter = {"delivered": "D", "lost": "L", "refused": "R"}[seen.outcome]
        return [(letter, _outcome(seen), _outcome(expected))]
    if seen.outcome != "delivered":
        return []
    if seen.by != expected.by:
        return [("W", _outcome(seen), _outcome(expected))]
    found: list[tuple[str, str, str]] = []
    if (seen.source, seen.own) != (expected.source, expected.own):
        found.append(("S", _source(seen), _source(expected)))
    if seen.ttl != expected.ttl:
        found.append(("T", f"TTL {seen.ttl} at the server", f"TTL {expected.ttl}"))
    if open_:  # and packets of one probe can take several paths
        return found
    if seen.silent:
        lost = f"packets of more than {seen.mtu} bytes" if seen.mtu else "packets of that size"
        found.append(
            (
                "M",
                f"{lost} that vanish and no word to the sender",
                f"a path MTU of {expected.mtu} bytes that the sender is told of",
            )
        )
    elif seen.mtu and seen.mtu != expected.mtu:
        found.append(("M", f"path MTU {seen.mtu} bytes", f"{expected.mtu} bytes"))
    return found


def _outcome(value: Expectation | Observation) -> str:
    return f"an answer by {value.by}" if value.outcome == "delivered" else value.outcome


def _source(value: Expectation | Observation) -> str:
    rewritten = f" (rewritten from {value.own})" if value.own != value.source else ""
    return f"source {value.source}{rewritten}"


def grid(
    spec: ResolvedSpec,
    predicted: Mapping[Probe, Expectation],
    observed: Mapping[Probe, Observation],
) -> str:
    """The matrix of pods as text, ``.`` for what is as predicted, and a line for each other kind.

    What is not predicted is ``+`` or ``-``. Rows are clients. Up to 40 pods there is a cell for
    each pair, with the gravest of both families; above, a cell for each pair of nodes holds the
    number of differences.
    """
    letters: dict[Probe, str] = {}
    order = list(LETTERS)
    for probe, letter, _ in compare(predicted, observed):
        letters[probe] = min(letters.get(probe, letter), letter, key=order.index)
    unjudged = {
        p: "+" if p in observed and observed[p].outcome == "delivered" else "-"
        for p, e in predicted.items()
        if e.outcome == "not-predicted"
    }
    lines: list[str] = []
    pods = {p.id: p.node for p in spec.pods}
    pairs: dict[tuple[str, str], list[Probe]] = {}
    for probe in predicted:
        if probe.kind == "pod-pod":
            pairs.setdefault((probe.client, probe.server), []).append(probe)
    if pairs and len(pods) <= WIDEST:
        marks = {**unjudged, **letters}
        lines += _pod_grid(list(pods), [*order, "-", "+"], pairs, predicted, marks)
    elif pairs:
        lines += _node_grid([n.name for n in spec.nodes], pods, pairs, letters)
    tried = Counter(
        p.kind for p, e in predicted.items() if e.outcome not in ("not-probed", "not-predicted")
    )
    wrong = Counter(probe.kind for probe in letters)
    lines += [f"{kind + ':':16} {n - wrong[kind]} of {n} as predicted" for kind, n in tried.items()]
    used = sorted(set(letters.values()), key=order.index)
    lines += [f"{letter} = {LETTERS[letter]}" for letter in used]
    if unjudged:
        came = sum(sign == "+" for sign in unjudged.values())
        lost = len(unjudged) - came
        lines.append(f"+ and - = delivered ({came}) and not ({lost}), which is not predicted")
    return "\n".join(lines) + "\n"


def _pod_grid(
    pods: list[str],
    order: list[str],
    pairs: Mapping[tuple[str, str], list[Probe]],
    predicted: Mapping[Probe, Expectation],
    letters: Mapping[Probe, str],
) -> list[str]:
    width = max(map(len, pods))
    tall = len(str(len(pods)))
    numbers = [str(i).rjust(tall) for i in range(1, len(pods) + 1)]
    lines = [
        " " * (tall + 1 + width) + " " + " ".join(number[digit] for number in numbers)
        for digit in range(tall)
    ]
    for number, client in zip(numbers, pods, strict=True):
        cells = []
        for server in pods:
            probes = pairs.get((client, server), ())
            tried = [p for p in probes if predicted[p].outcome != "not-probed"]
            found = [letters[p] for p in tried if p in letters]
            cells.append(min(found, key=order.index) if found else "." if tried else " ")
        lines.append(f"{number} {client.ljust(width)} {' '.join(cells)}".rstrip())
    return lines


def _node_grid(
    nodes: list[str],
    home: Mapping[str, str],
    pairs: Mapping[tuple[str, str], list[Probe]],
    letters: Mapping[Probe, str],
) -> list[str]:
    wrong = Counter(
        (home[client], home[server])
        for (client, server), probes in pairs.items()
        for probe in probes
        if probe in letters
    )
    if not wrong:
        return [f"pods of {len(nodes)} nodes: every pair as predicted"]
    rows = [n for n in nodes if any(wrong[n, other] for other in nodes)]
    columns = [n for n in nodes if any(wrong[other, n] for other in nodes)]
    width = max(map(len, nodes))
    lines = ["differences among the pods of each pair of nodes (others: none)"]
    lines.append(" ".join(name.rjust(width) for name in ["", *columns]))
    for row in rows:
        cells = [str(wrong[row, column] or ".").rjust(width) for column in columns]
        lines.append(" ".join([row.rjust(width), *cells]))
    return lines
