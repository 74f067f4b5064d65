"""Fill a matrix by probing: one thread, two UDP sockets of each family in every namespace,
one epoll.

The program that runs this is inside the lab and has one thread, since a socket belongs
to the namespace that its thread was in when it was opened. Nothing else of the lab is
touched but the neighbour tables, whose dynamic entries are shared with every other
namespace of the machine up to one global limit: probes go in batches that can make at
most ``budget`` of them, and after each batch the entries are flushed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from emulator.matrix import Observation
from emulator.measure.datagram import LARGEST
from emulator.measure.exchange import Exchange, State
from emulator.measure.whereabouts import Whereabouts
from emulator.oracle import Probe
from emulator.patience import patient

PORT = 8474
BUDGET = 400
"""Neighbour entries of a batch. The kernel's default for the whole machine is 1024."""
_WAITS_S = (0.2, 0.3, 0.5)
WAITS_S = tuple(patient(seconds, kernel=True) for seconds in _WAITS_S)
"""How long a try waits without any answer before the next one, seconds."""
LONGER_S = tuple(map(patient, _WAITS_S))
"""The same for what ought to have been answered: a tunnel whose handshake came too late on an
emulated machine begins another one after five seconds."""

_ROUND = 4
"""Tries between two flushes of the neighbours."""


def observe(
    probes: Iterable[Probe],
    places: Mapping[str, Whereabouts],
    enter: Callable[[str], None],
    flush: Callable[[str], None],
    sizes: Mapping[Probe, int] | None = None,
    *,
    budget: int = BUDGET,
    waits_s: Sequence[float] = WAITS_S,
    port: int = PORT,
) -> dict[Probe, Observation]:
    """Send every probe and say what came of it.

    ``enter`` moves the thread to a network namespace and raises OSError when it cannot;
    the thread stays in the last one. ``flush`` deletes the dynamic neighbour entries of
    one. ``sizes`` gives the path MTU to try, in bytes: that size must pass, and one byte
    more is tried as well. A probe without one is small. KeyError for a name without place.
    """
    wanted = list(dict.fromkeys(probes))
    tried = {probe: min((sizes or {}).get(probe, 0), LARGEST) for probe in wanted}
    exchange = Exchange(wanted, places, tried, port)
    numbers = range(len(wanted))
    # Lost probes cost waiting: once in every batch, the rest with all of them together. What a
    # damaged packet has said of a neighbour is forgotten between rounds.
    rounds = [waits_s[:1], *(waits_s[i : i + _ROUND] for i in range(1, len(waits_s), _ROUND))]
    for waits in rounds:
        left = [i for i in numbers if not exchange.finished(i)]
        for batch, namespaces in batches(wanted, places, budget, left):
            with exchange.opened(namespaces, enter) as opened:
                exchange.probe(batch, waits)
            for namespace in opened:
                flush(namespace)
    return {
        probe: _result(state, tried[probe])
        for probe, state in zip(wanted, exchange.states, strict=True)
    }


def batches(
    probes: Sequence[Probe],
    places: Mapping[str, Whereabouts],
    budget: int,
    numbers: Iterable[int] | None = None,
) -> Iterator[tuple[list[int], list[str]]]:
    """Cut probes (or those ``numbers`` of them) where they could make more entries than budget.

    Each batch is the numbers of its probes and the namespaces that they concern. Ordered
    by client node and server node. Two entries for each pair that shares a segment, two
    for each namespace and its gateway, two for each pair of nodes: what a bridged plugin
    with dynamic entries makes, and no plugin makes more. Families have tables of their own.
    """
    homes = [(places[p.client], places[p.server]) for p in probes]
    # Where addresses are not unique, another one near the client may answer.
    held = {
        (server.segment, p.address): server.namespace
        for p, (_, server) in zip(probes, homes, strict=True)
    }
    batch: list[int] = []
    namespaces: dict[str, None] = {}
    entries: set[frozenset[str]] = set()
    chosen = range(len(probes)) if numbers is None else numbers
    for i in sorted(chosen, key=lambda i: (homes[i][0].node, homes[i][1].node)):
        client, server = homes[i]
        near = held.get((client.segment, probes[i].address))
        makes = {frozenset((client.namespace,)), frozenset((server.namespace,))}
        if near:
            makes.add(frozenset((client.namespace, near)))
        else:
            makes.add(frozenset(("nodes", client.node, server.node)))
        if batch and 2 * len(entries | makes) > budget:
            yield batch, list(namespaces)
            batch, namespaces, entries = [], {}, set()
        batch.append(i)
        entries |= makes
        namespaces |= dict.fromkeys((client.namespace, server.namespace, near or client.namespace))
    if batch:
        yield batch, list(namespaces)


def _result(state: State, size: int) -> Observation:
    """What is known of a probe of path MTU ``size`` when all has been tried."""
    if state.answer is not None:
        mtu, silent = 0, False
        if size + 1 in state.passed:
            mtu = size + 1
        elif size in state.passed:
            mtu = state.too_big.get(size + 1, size)
            silent = size < LARGEST and size + 1 not in state.too_big
        elif size:
            mtu = state.too_big.get(size, 0)
            silent = size not in state.too_big
        return Observation("delivered", *state.answer, mtu, silent)
    if state.refused:
        return Observation("refused", detail=state.refused)
    if state.failed:
        return Observation("failed", detail=state.failed)
    words = [*([state.arrived] if state.arrived else []), *state.notes]
    return Observation("lost", detail="; ".join(words) or "no answer")
