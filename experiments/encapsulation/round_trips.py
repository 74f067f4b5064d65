"""What one echo and its reply are to the kernel: packets on cables and devices, rules that match.

Rules are counted by nftables' own trace: two chains of ours, before all others, mark every packet
of a node, and the kernel then tells each rule that it matches.  A ping through loopback ends what
belongs to a measurement, since the trace keeps the order.  Differences of two pings of different
length leave out what a new flow costs; what they leave is a whole number for each echo.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Final

from emulator.cluster import Place
from emulator.measure import tool, wait
from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import Measured, all_failed, good
from experiments.two_nodes.lab import Cell, lay_rules

METRICS: Final = ("cable_packets", "device_packets", "rules_new_flow", "rules")
ECHOES: Final = 200
"""For packets of devices: many, since what else is on its way (IPv6 of new devices) counts too."""
FLOWS: Final = 3
"""For rules: new flows; the least of them counts, since others may be on their way meanwhile."""
TRACED: Final = 15
"""Echoes of a flow beyond its first: few, since each rule is a line."""
UNTIL_S: Final = 60.0
TRACE: Final = "/run/podwire-trace"
_TABLE: Final = "podwire-trace"
_RULES: Final = f"""
table inet {_TABLE} {{
    chain arriving {{
        type filter hook prerouting priority -450; policy accept;
        meta nfproto ipv4 ip protocol != {{ tcp, igmp }} meta nftrace set 1
    }}
    chain leaving {{
        type filter hook output priority -450; policy accept;
        meta nfproto ipv4 ip protocol != {{ tcp, igmp }} meta nftrace set 1
    }}
}}
"""
"""BGP and the reports of multicast groups come when they like."""
_RULE = re.compile(r"^trace id (\w+) (\w+ \S+ \S+) rule ", re.M)
_NEIGHBOUR = re.compile(r"^(\S+) dev (\S+) lladdr (\S+)", re.M)
_SUBSCRIBED = 1 << 8
"""NFNLGRP_NFTRACE in the mask of a netlink socket's groups."""


def packets(cell: Cell) -> Measured:
    """``cable_packets`` and ``device_packets``."""
    places = {one.ns: one for one in (*_nodes(cell), cell.client, cell.server)}
    try:
        _ping(cell, 1)  # neighbours, tunnels, keys
        before = _packets(places)
        _ping(cell, ECHOES)
        after = _packets(places)
        cables, every = _on_cables(before, after), _on_devices(before, after)
        return Measured(
            (
                good("cable_packets", _each(cables, ECHOES), counted=cables, echoes=ECHOES),
                good("device_packets", _each(every, ECHOES), counted=every, echoes=ECHOES),
            ),
            {},
        )
    except MeasureFailed as error:
        return all_failed(METRICS[:2], str(error), {})


def rules(cell: Cell) -> Measured:
    """``rules_new_flow`` and ``rules``, with the matches by chain in their details."""
    nodes = _nodes(cell)
    raw: dict[str, bytes] = {}
    running = []
    try:
        for node in nodes:
            lay_rules(node, _RULES)
            running.append(node.start(["sh", "-c", f"exec nft monitor trace > {TRACE}"]))
        for node in nodes:
            wait.until(partial(_subscribed, node), UNTIL_S, "nft traces", place=node.name)
        _ping(cell, 1)
        for pod in {one.ns: one for one in (cell.client, cell.server)}.values():
            if pod.ns not in [node.ns for node in nodes]:
                _keep_neighbours(pod)
        seen: list[Counter[str]] = []
        for echoes in (1, *FLOWS * [1], *FLOWS * [1 + TRACED]):
            _ping(cell, echoes)
            seen.append(_seen(nodes, len(seen) + 1))
        flows = [after - before for before, after in pairwise(seen)]
        new = min(flows[:FLOWS], key=Counter.total)
        rest = min(flows[FLOWS:], key=Counter.total) - new
        raw |= {f"trace-{node.name}.txt": node.read_file(TRACE) for node in nodes}
        return Measured(
            (
                good("rules_new_flow", new.total(), chains=dict(new)),
                good("rules", _each(rest.total(), TRACED), chains=dict(rest), echoes=TRACED),
            ),
            raw,
        )
    except MeasureFailed as error:
        return all_failed(METRICS[2:], str(error), raw)
    finally:
        for one in running:
            one.kill()
        for node in nodes:
            node.run(["nft", "delete", "table", "inet", _TABLE], timeout_s=UNTIL_S)


def _nodes(cell: Cell) -> list[Place]:
    return [cell.cluster.node("n1"), cell.cluster.node("n2")]


def _subscribed(node: Place) -> bool:
    sockets = node.run(["cat", "/proc/net/netlink"], timeout_s=UNTIL_S).stdout.decode()
    _, *rows = (line.split() for line in sockets.splitlines())
    return any(row[1] == "12" and int(row[3], 16) & _SUBSCRIBED for row in rows)


def _keep_neighbours(pod: Place) -> None:
    """Ask for none of them again: a tunnel of frames carries pods' ARP as well, and its packets are
    told from those of echoes by nothing that a trace shows."""
    known = pod.run(["ip", "-4", "neigh", "show"], timeout_s=UNTIL_S).stdout.decode()
    for address, dev, mac in _NEIGHBOUR.findall(known):
        words = [address, "lladdr", mac, "dev", dev, "nud", "permanent"]
        done = pod.run(["ip", "neigh", "replace", *words], timeout_s=UNTIL_S)
        if done.returncode:
            raise MeasureFailed(f"{pod.name}: {tool.said(done)}")


def _ping(cell: Cell, count: int) -> None:
    argv = ["ping", "-n", "-c", str(count), "-i", "0.002", "-W", "10", cell.server.ip]
    done = cell.client.run(argv, timeout_s=UNTIL_S, env=tool.SURROUNDINGS)
    if done.returncode:
        raise MeasureFailed(f"ping: {tool.said(done)}")


def _seen(nodes: Sequence[Place], times: int) -> Counter[str]:
    """Matches by chain until now, once the kernel has told all of them."""
    found: Counter[str] = Counter()
    for node in nodes:
        node.run(["ping", "-n", "-c", "1", "127.0.0.1"], timeout_s=UNTIL_S)
        wait.until(
            lambda n=node: _told(n) >= times,  # type: ignore[misc]
            UNTIL_S, "the trace is complete", place=node.name,
        )  # fmt: skip
        text = node.read_file(TRACE).decode(errors="replace")
        found += matches(text)
    return found


def _told(node: Place) -> int:
    """How often the loopback's reply has been told."""
    text = node.read_file(TRACE).decode(errors="replace")
    return len(re.findall(rf'{_TABLE} arriving packet: iif "lo" .*icmp type echo-reply', text))


def matches(trace: str) -> Counter[str]:
    """Rules that matched, by family, table and chain; ours and those of loopback are not counted.

    A packet of loopback is told apart by the identity of its trace.
    """
    local = set(re.findall(r'^trace id (\w+) .* [io]if "lo" ', trace, re.M))
    rules = (match.groups() for match in _RULE.finditer(trace))
    return Counter(chain for one, chain in rules if one not in local and _TABLE not in chain)


Devices = Mapping[str, Mapping[str, tuple[int, int]]]
"""(received, sent) packets by device, by place."""


def _packets(places: Mapping[str, Place]) -> Devices:
    return {
        name: devices(place.run(["cat", "/proc/net/dev"], timeout_s=UNTIL_S).stdout.decode())
        for name, place in places.items()
    }


def devices(text: str) -> dict[str, tuple[int, int]]:
    """(received, sent) packets by device, from /proc/net/dev; loopback is none."""
    rows = (line.partition(":") for line in text.splitlines()[2:])
    fields = {name.strip(): rest.split() for name, _, rest in rows}
    return {name: (int(f[1]), int(f[9])) for name, f in fields.items() if name != "lo"}


def _on_cables(before: Devices, after: Devices) -> int:
    """What both nodes' uplinks sent."""
    return sum(after[node]["eth0"][1] - before[node]["eth0"][1] for node in ("n1", "n2"))


def _on_devices(before: Devices, after: Devices) -> int:
    """What all devices of nodes and pods received."""
    return sum(
        received - before[place].get(name, (0, 0))[0]
        for place, found in after.items()
        for name, (received, _) in found.items()
    )


def _each(count: int, echoes: int) -> int:
    """The share of one echo, when so much was counted for all; MeasureFailed where it is none.

    Something else may be on its way meanwhile: less than a quarter of a packet for each echo.
    """
    share = round(count / echoes)
    if abs(count - share * echoes) > echoes / 4:
        raise MeasureFailed(f"{count} for {echoes} echoes: no whole number for each")
    return share
