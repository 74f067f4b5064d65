"""That a replay builds the very state of the plan: look at what it built as Podwire does.

    python -m experiments.bring_up.proof 10x10

prints how many resources were compared and every one that deviates (exit code 1 then).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from emulator.compile import compile_spec
from emulator.errors import PodwireError
from emulator.plan import Plan, deviations
from emulator.spec import load_text
from emulator.substrate.kernel import Kernel
from emulator.substrate.sandbox import FILES, NAMES
from experiments.bring_up.arms import Traces
from experiments.bring_up.replaying import replayed
from experiments.bring_up.sizes import parse
from experiments.bring_up.trace import namespaces


def difference(plan: Plan, trace: bytes) -> list[str]:
    """How the kernel's state after replaying ``trace`` deviates from a plan, in words.

    Files and processes are no operations of a trace and are left out. PodwireError.
    """
    names = namespaces(trace)
    known = [entry.resource for entry in plan]

    def look(report: dict[str, Any]) -> dict[str, Any]:
        kernel = Kernel(NAMES, FILES)
        for name, fd in zip(names, report["fds"], strict=True):
            kernel.adopt(name, Path(f"/proc/{report['pid']}/fd/{fd}"))
        found = deviations(plan, kernel.observe(known))
        return {"found": [str(one) for one in found if not _not_traced(one.expected)]}

    with replayed(trace, look) as (_, facts):
        lines: list[str] = facts["found"]
        return lines


def _not_traced(resource: object) -> bool:
    return getattr(resource, "kind", "") in ("file", "process")


def main(arguments: list[str]) -> int:
    """Command line: exit code 1 when the states differ, or that of a PodwireError."""
    try:
        size = parse(arguments[0] if arguments else "10x10")
        plan = compile_spec(load_text(size.yaml()))
        lines = difference(plan, Traces().get(size))
    except PodwireError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{len(plan)} resources of {size} compared, {len(lines)} deviate", *lines, sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
