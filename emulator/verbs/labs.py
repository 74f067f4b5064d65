"""Verbs for the life of a lab: up, ls, apply, fail, heal, cni, verify."""

from __future__ import annotations

import argparse
import sys
import time

from emulator.cluster import Cluster, running
from emulator.errors import PodwireError, Problem
from emulator.verbs import benches, guest
from emulator.verbs.output import as_json, counted, progress, table
from emulator.verbs.specs import load
from emulator.verify import Report


def up_(arguments: argparse.Namespace) -> int:
    """Compile, look whether the machine can carry it, bring it up, say what to do next."""
    began = time.perf_counter()
    spec = load(arguments)
    cluster = Cluster(spec, arguments.name)
    cluster.up(keep=True, progress=progress(f"{cluster.name}: configuring"))
    took = time.perf_counter() - began
    _warn(cluster)
    if arguments.timings:
        print(as_json({**cluster.timings, "command_s": took}))
    else:
        print(
            f"{cluster.name} is up: {counted(len(spec.nodes), 'node')}, "
            f"{counted(len(spec.pods), 'pod')}, "
            f"{' '.join(filter(None, (spec.network.plugin, spec.network.backend)))}, "
            f"{took:.2f} s. Next: podwire verify, podwire get pods, podwire shell NAME, "
            "podwire down"
        )
    return 0


def _warn(cluster: Cluster) -> None:
    for warning in cluster.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def ls_(arguments: argparse.Namespace) -> int:
    """All labs of this user, with what is wrong in them."""
    bench = "native" if guest.in_guest() else benches.asked(arguments)
    rows: list[dict[str, object]] = [] if bench == "vm" else _labs()
    if bench != "native":
        rows += guest.labs()
    if arguments.output == "json":
        print(as_json(rows))
    elif not rows:
        print("no lab runs. Start one: podwire up topologies/flannel-vxlan.yaml")
    else:
        columns = ["lab", "network", "nodes", "pods", "faults", "age_s", "status"]
        if any(row["bench"] != "native" for row in rows):
            columns.insert(1, "bench")
        cells = [
            [
                ", ".join(map(str, v)) if isinstance(v := row.get(c, ""), list) else v
                for c in columns
            ]
            for row in rows
        ]
        print(table(columns, cells))
    return 0


def _labs() -> list[dict[str, object]]:
    """Those of this kernel."""
    rows: list[dict[str, object]] = []
    for world, facts in running():
        row: dict[str, object] = {"lab": world.name, "bench": "native", "pid": world.pid}
        if isinstance(facts, PodwireError):
            row |= {"status": _why_silent(facts)}
        else:
            dead = [p for p in facts.processes if p.state != "running" and p.code != 0]
            restarts = sum(p.restarts for p in facts.processes)
            status = "up"
            if dead:
                status = "; ".join(f"{p.label} {p.state} (code {p.code})" for p in dead)
            elif restarts:
                status = f"up, {restarts} restarts of processes"
            row |= {
                "status": status,
                "network": " ".join(
                    filter(None, (facts.spec.network.plugin, facts.spec.network.backend))
                ),
                "nodes": len(facts.spec.nodes),
                "pods": len(facts.spec.pods),
                "processes": [p._asdict() for p in facts.processes],
                "faults": [str(f) for f in facts.faults],
                "age_s": round(time.time() - facts.began),
            }
        rows.append(row)
    return rows


def _why_silent(error: PodwireError) -> str:
    if isinstance(error.__cause__, TimeoutError):
        return "busy: try again, or podwire down"
    problem = error.problems[0]
    return problem.found if isinstance(problem, Problem) else problem


def apply_(arguments: argparse.Namespace) -> int:
    """Turn a running lab into another spec."""
    spec = load(arguments)
    cluster = Cluster.attach(arguments.lab)
    if arguments.dry_run:
        done = cluster.preview(spec)
    else:
        done = cluster.apply(spec)
        _warn(cluster)
    if arguments.output == "json":
        print(as_json(done))
    else:
        for text in done:
            print(text)
        print(f"{len(done)} operations{' (not done: --dry-run)' if arguments.dry_run else ''}")
    return 0


def fail_(arguments: argparse.Namespace) -> int:
    """Lay a fault over the lab."""
    cluster = Cluster.attach(arguments.lab)
    for text in cluster.fail(arguments.kind, arguments.target):
        print(text)
    print(f"{arguments.kind} {arguments.target} has failed. 'podwire verify' says what follows")
    return 0


def heal_(arguments: argparse.Namespace) -> int:
    """Mend one fault or all."""
    cluster = Cluster.attach(arguments.lab)
    for text in cluster.heal(arguments.kind, arguments.target):
        print(text)
    print("healed")
    return 0


def cni_(arguments: argparse.Namespace) -> int:
    """Run a verb of CNI by hand."""
    lines = Cluster.attach(arguments.lab).cni(arguments.action, arguments.place)
    print(as_json(lines) if arguments.output == "json" else "\n".join(lines))
    return 0


def verify_(arguments: argparse.Namespace) -> int:
    """Compare; 0 when everything is as it should be, 1 when not."""
    cluster = Cluster.attach(arguments.lab)
    tell = progress("verify: probing")
    report = cluster.verify(
        probes=not arguments.no_probes,
        wait_s=arguments.wait,
        progress=lambda _, done, total: tell(done, total),
    )
    if arguments.output == "json":
        print(as_json({**report._asdict(), "good": report.good}))
    else:
        _say(report, arguments.matrix)
        if report.deviations and report.kernel_s >= arguments.wait > 0:
            print(f"daemons had {arguments.wait:g} s; podwire verify --wait S gives them longer")
    return 0 if report.good else 1


_SHOWN = 40


def _say(report: Report, matrix: bool) -> None:
    for title, texts in (
        ("kernel state", report.deviations),
        ("processes", report.processes),
        ("probes", report.differences),
    ):
        for text in texts[:_SHOWN]:
            print(f"{title}: {text}")
        if len(texts) > _SHOWN:
            print(f"{title}: … and {len(texts) - _SHOWN} more (-o json has all)")
    print(
        f"kernel: {report.resources} resources, {len(report.deviations)} deviations "
        f"({report.kernel_s:.2f} s)"
    )
    if report.probes:
        print(
            f"probes: {report.probes}, {len(report.differences)} other than predicted "
            f"({report.probes_s:.2f} s)"
        )
        if report.not_predicted:
            print(f"  {report.not_predicted} of them are not predicted, only looked at")
        for s in report.statements:
            mark = "holds" if s.holds else "does not hold"
            print(f"  {s.number:4} {mark}: {s.text}{': ' + s.detail if s.detail else ''}")
        if matrix or report.differences or report.not_predicted:
            print(report.grid)
    for text in report.notes[:_SHOWN]:
        print(f"note: {text}")
    print("good" if report.good else "NOT as the spec says")
