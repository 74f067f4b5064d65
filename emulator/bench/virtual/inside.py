"""In the guest, after ``boot``: load all of ours, be frozen, and then carry out one order.

What it does until the pause is the same for every order and is done once for a version of the
program; every cell begins with the instruction after it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import struct
import traceback
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from emulator.bench.virtual.boot import pause
from emulator.errors import PodwireError

ORDER = Path("/sys/firmware/qemu_fw_cfg/by_name/opt/podwire/order/raw")
ANSWERS = "/dev/ttyS1"
MAGIC = b"podwire\n"
_RNDRESEEDCRNG = 0x5207


def main(modules: Sequence[str]) -> None:
    """Load, pause, carry out, answer."""
    for name in modules:
        import_module(name)
    answers = os.open(ANSWERS, os.O_WRONLY | os.O_NOCTTY)
    pause()
    order = json.loads(ORDER.read_bytes().rstrip(b"\0"))
    _seed(order["seed"])
    os.environ.update(order["env"])
    try:
        found = json.dumps({"answer": _function(order["call"])(order["argument"])})
    except PodwireError as error:
        found = json.dumps({"problems": error.problems, "kind": type(error).__name__})
    except Exception:  # whatever it is, it is the host that has to say it
        found = json.dumps({"error": traceback.format_exc()})
    _answer(answers, found.encode())


def _seed(seed: str) -> None:
    """All chance in the guest comes from here."""
    with open("/dev/random", "wb", buffering=0) as random:
        random.write(seed.encode())
        fcntl.ioctl(random, _RNDRESEEDCRNG)


def _function(name: str) -> Callable[[Any], Any]:
    module, _, function = name.partition(":")
    found: Callable[[Any], Any] = getattr(import_module(module), function)
    return found


def _answer(fd: int, payload: bytes) -> None:
    """Length, SHA-256, and the packed payload: half an answer is none."""
    packed = zlib.compress(payload, 1)
    rest = memoryview(
        MAGIC + struct.pack("=Q", len(packed)) + hashlib.sha256(packed).digest() + packed
    )
    while rest:
        rest = rest[os.write(fd, rest) :]
    os.close(fd)
