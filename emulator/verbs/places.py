"""Verbs in a lab: get, exec, shell, cp, capture, cli."""

from __future__ import annotations

import argparse
import os
import sys

from emulator.cluster import Cluster, Place
from emulator.errors import Problem, SpecError
from emulator.spec import dump
from emulator.substrate import control
from emulator.verbs.output import as_json, table


def get_(arguments: argparse.Namespace) -> int:
    """List what is in a lab."""
    cluster = Cluster.attach(arguments.lab)
    what = arguments.what
    if what in ("spec", "plan", "state"):
        if what == "spec":
            text = dump(cluster.spec)
        else:
            verb = "plan" if what == "plan" else "observed"
            text = control.ask(cluster.world, verb)
        print(as_json(text.splitlines()) if arguments.output == "json" else text.rstrip("\n"))
        return 0
    rows = _rows(cluster, what)
    if arguments.output == "json":
        print(as_json(rows))
        return 0
    if not rows:
        print(f"no {what}")
        return 0
    head = list(rows[0])
    head = [h for h in head if h not in (_NARROW if arguments.output == "wide" else _WIDE)]
    print(table(head, [[_cell(row[h]) for h in head] for row in rows]))
    return 0


_WIDE = ("ips", "namespace", "labels", "containers", "mac", "subnet")
"""Columns that a wide table has and a narrow one has not."""
_NARROW = ("ip",)
"""And the other way round: in the wide one the addresses of all families take its place."""


def _cell(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _rows(cluster: Cluster, what: str) -> list[dict[str, object]]:
    spec, addresses = cluster.spec, cluster.addressing
    if what == "pods":
        return [
            {
                "pod": p.id,
                "ip": addresses.pod[p.id],
                "ips": [at.pod[p.id] for at in addresses.families],
                "node": p.node,
                "network": "host" if p.host_network else "pod",
                "namespace": p.namespace,
                "labels": [f"{k}={v}" for k, v in p.labels],
                "containers": [c.name for c in p.containers],
            }
            for p in spec.pods
        ]
    if what == "nodes":
        return [
            {
                "node": n.name,
                "ip": addresses.node[n.name],
                "ips": [at.node[n.name] for at in addresses.families],
                "segment": n.segment,
                "subnet": [
                    at.node_subnet.get(n.name) or ", ".join(at.blocks[n.name])
                    for at in addresses.families
                ],
                "pods": sum(p.node == n.name for p in spec.pods),
            }
            for n in spec.nodes
        ]
    if what == "hosts":
        return [
            {
                "host": h.name,
                "ip": addresses.host[h.name],
                "ips": [at.host[h.name] for at in addresses.families],
                "segment": h.segment,
            }
            for h in spec.hosts
        ]
    if what == "links":
        return [
            {
                "end": f"{c.station1}:{c.interface1}",
                "address": c.address1,
                "other end": f"{c.station2}:{c.interface2}",
                "other address": c.address2,
            }
            for c in cluster.cables()
        ]
    facts = cluster.facts()
    if what == "faults":
        return [{"kind": f.kind, "target": f.target} for f in facts.faults]
    return [s._asdict() for s in facts.processes]


def exec_(arguments: argparse.Namespace) -> int:
    """Run a program in a place, on this terminal; its code is ours."""
    command = arguments.command
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        raise SpecError(
            Problem("exec", "no command", "one after --", "podwire exec n1-p1 -- ip addr")
        )
    return Cluster.attach(arguments.lab).place(arguments.place).interactive(command)


def shell_(arguments: argparse.Namespace) -> int:
    """An interactive shell in a place."""
    place = Cluster.attach(arguments.lab).place(arguments.place)
    shell = os.environ.get("SHELL") or "/bin/sh"
    if not os.access(shell, os.X_OK):
        shell = "/bin/sh"
    return place.interactive([shell])


def cp_(arguments: argparse.Namespace) -> int:
    """Copy a file between this file system and a place's own."""
    cluster = Cluster.attach(arguments.lab)
    (source, source_path), (target, target_path) = (
        _end(cluster, arguments.source),
        _end(cluster, arguments.target),
    )
    if (source is None) == (target is None):
        raise SpecError(
            Problem("cp", "both ends here" if source is None else "both ends in the lab",
                    "exactly one end as PLACE:/path")
        )  # fmt: skip
    if target is not None:
        if target_path.endswith("/"):
            target_path += os.path.basename(source_path)
        try:
            with open(source_path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise SpecError(
                Problem(source_path, error.strerror or "", "a file that can be read")
            ) from error
        target.write_file(target_path, data)
        return 0
    assert source is not None
    data = source.read_file(source_path)
    if os.path.isdir(target_path):
        target_path = os.path.join(target_path, os.path.basename(source_path))
    try:
        with open(target_path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise SpecError(Problem(target_path, error.strerror or "", "a file to write")) from error
    return 0


def _end(cluster: Cluster, text: str) -> tuple[Place | None, str]:
    name, colon, path = text.partition(":")
    if not colon or "/" in name:
        return None, text
    if not path.startswith("/"):
        raise SpecError(Problem("cp", repr(text), "PLACE:/absolute/path"))
    return cluster.place(name), path


def capture_(arguments: argparse.Namespace) -> int:
    """tcpdump at an interface; a pcap is written by this process, outside of the lab."""
    name, colon, interface = arguments.interface.partition(":")
    if not colon:
        raise SpecError(
            Problem("capture", repr(arguments.interface), "PLACE:INTERFACE", "n1:flannel.1")
        )
    place = Cluster.attach(arguments.lab).place(name)
    limits = {"count": arguments.count, "seconds": arguments.seconds, "words": arguments.filter}
    if not arguments.write:
        return place.capture(interface, **limits)
    if arguments.write == "-":
        return place.capture(interface, sys.stdout.buffer, **limits)
    try:
        file = open(arguments.write, "wb")  # noqa: SIM115 - closed below, after the copy
    except OSError as error:
        raise SpecError(
            Problem(arguments.write, error.strerror or "", "a file to write")
        ) from error
    with file:
        code = place.capture(interface, file, **limits)
    print(f"{arguments.write}: {os.path.getsize(arguments.write)} bytes", file=sys.stderr)
    return code


def cli_(arguments: argparse.Namespace) -> int:
    """Mininet's command line."""
    return Cluster.attach(arguments.lab).mininet_cli()
