"""Record what applying a plan asks of the kernel: ``python -m experiments.bring_up.record``.

    python -m experiments.bring_up.record SPEC TRACE

has to run with capture.so preloaded, since a library that is loaded already cannot be
listened to; :func:`record` starts it so.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

from emulator.compile import compile_spec
from emulator.errors import PodwireError, Problem
from emulator.plan import Plan, diff
from emulator.spec import load
from emulator.substrate.host import run_on_host
from emulator.substrate.kernel import Kernel
from emulator.substrate.sandbox import FILES, NAMES, PROCFS
from experiments.bring_up import build, sealed
from experiments.bring_up.trace import Recorder

ROOT = Path(__file__).resolve().parents[2]
_LARGEST_TRANSACTION = 1 << 20


def record(spec: Path, trace: Path, timeout_s: float = 300.0) -> None:
    """Write the trace of a spec's first ``up``. Unsupported without a compiler; PodwireError."""
    ended = run_on_host(
        (sys.executable, "-m", __name__, str(spec), str(trace)),
        env={"LD_PRELOAD": str(build.capture()), "PYTHONPATH": str(ROOT)},
        timeout_s=timeout_s,
    )
    if ended.returncode:
        words = ended.stderr.decode(errors="replace").strip()
        raise PodwireError(Problem(f"recording {spec}", words or "no message", "a trace"))


def caught() -> Callable[[], bytes]:
    """What hands out the transaction that was sent last. PodwireError without capture.so."""
    try:
        take = ctypes.CDLL(None).podwire_transaction
    except AttributeError:
        raise PodwireError(
            Problem("LD_PRELOAD", "capture.so is not loaded", "the library that catches nftables",
                    "use record(), which starts a process with it")
        ) from None  # fmt: skip
    take.restype = ctypes.c_size_t
    take.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
    room = ctypes.create_string_buffer(_LARGEST_TRANSACTION)

    def transaction() -> bytes:
        size = take(room, _LARGEST_TRANSACTION)
        return room.raw[:size]

    return transaction


def record_here(plan: Plan) -> bytes:
    """Apply a plan in a fresh world and return the trace of it. Needs capture.so."""
    transaction = caught()

    def body() -> tuple[dict[str, object], Callable[[], sealed.Facts]]:
        recorder = Recorder(transaction)
        kernel = Kernel(NAMES, FILES, recorder)
        kernel.fresh_procfs_at(PROCFS)
        kernel.apply(diff(plan, {}))
        return {"trace": recorder.trace()}, dict

    with sealed.world("bring-up-record", body) as (_, facts):
        trace: bytes = facts["trace"]
        return trace


def main(arguments: list[str]) -> int:
    """Command line: the exit code of a PodwireError, its text on standard error."""
    spec, target = map(Path, arguments)
    try:
        target.write_bytes(record_here(compile_spec(load(spec))))
    except PodwireError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
