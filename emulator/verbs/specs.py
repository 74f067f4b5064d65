"""Verbs that need no lab: check, plan, doctor, completion."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap

from emulator import topo
from emulator.compile import compile_spec
from emulator.errors import Problem, SpecError
from emulator.plan import Plan
from emulator.plan.text import line
from emulator.secrets import words
from emulator.spec import load_with_warnings, parse_sets, schema
from emulator.spec.resolved import ResolvedSpec
from emulator.verbs.output import as_json, counted, table


def load(arguments: argparse.Namespace) -> ResolvedSpec:
    """The spec that the arguments name; warnings go to stderr."""
    loaded = load_with_warnings(arguments.spec, parse_sets(arguments.set), topo.read)
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return loaded.spec


def check_(arguments: argparse.Namespace) -> int:
    """Read, resolve, compile, check the invariants of the plan."""
    if arguments.schema:
        print(json.dumps(schema(), indent=2))
        return 0
    if arguments.spec is None:
        raise SpecError(
            Problem("check", "no spec", "a YAML file", "podwire check topologies/two-racks.yaml")
        )
    spec = load(arguments)
    plan = compile_spec(spec)
    facts = {
        "cluster": spec.name,
        "network": " ".join(filter(None, (spec.network.plugin, spec.network.backend))),
        "nodes": len(spec.nodes),
        "pods": len(spec.pods),
        "segments": len(spec.segments),
        "resources": len(plan),
    }
    if arguments.output == "json":
        print(as_json(facts))
    else:
        print(
            f"{arguments.spec}: good. {facts['network']}, {counted(len(spec.nodes), 'node')}, "
            f"{counted(len(spec.pods), 'pod')}, {counted(len(spec.segments), 'segment')}: "
            f"{facts['resources']} resources"
        )
    return 0


def plan_(arguments: argparse.Namespace) -> int:
    """Print the plan in one of its forms."""
    plan = compile_spec(load(arguments))
    if arguments.node:
        plan = _only(plan, arguments.node)
    if arguments.output == "sh":
        from emulator.plan.script import script

        sys.stdout.write(script(plan))
    elif arguments.output == "json":
        rows = [
            {
                "kind": e.resource.kind,
                "owner": e.owner,
                "source": e.source,
                "text": line(e.resource),
                **e.resource._asdict(),
            }
            for e in plan
        ]
        print(as_json(rows))
    else:
        sys.stdout.write(plan.text())
    if arguments.output != "sh" and any(words(line(e.resource)) for e in plan):
        print("note: words in braces stand for keys, which are drawn by 'up'", file=sys.stderr)
    return 0


def _only(plan: Plan, ns: str) -> Plan:
    if ns not in plan.namespaces():
        raise SpecError(Problem("--node", repr(ns), f"one of {', '.join(plan.namespaces()[:20])}"))
    part = Plan()
    for entry in plan:
        if entry.resource.ns == ns:
            part.keep(entry)
    return part


_FOUND = 72
"""How wide doctor's lists may be; a remedy is one line, to be copied."""


def doctor_(arguments: argparse.Namespace) -> int:
    """Try what this machine can do; 3 when something that is needed is missing."""
    from emulator.doctor import examine

    spec = None
    if arguments.spec:
        arguments.set = []
        spec = load(arguments)
    findings = examine(spec)
    if arguments.output == "json":
        print(as_json([f._asdict() for f in findings]))
    else:
        shown = findings
        if arguments.brief:
            shown = [f for f in findings if not f.good and not f.elsewhere]
        rows = [
            (
                f.what,
                textwrap.fill(f.found, _FOUND, break_on_hyphens=False),
                "ok" if f.good else f.elsewhere or ("MISSING" if f.needed else "-"),
                f.remedy,
            )
            for f in shown
        ]
        if rows:
            print(table(("what", "found", "", "remedy"), rows))
        else:
            print(f"all is well: {next(f.found for f in findings if f.what == 'privilege')}")
    return 3 if any(f.needed and not f.good for f in findings) else 0


def completion_(arguments: argparse.Namespace) -> int:
    """A completion script made from the grammar itself."""
    import shtab

    from emulator.cli import parser

    print(shtab.complete(parser(), arguments.shell))
    return 0
