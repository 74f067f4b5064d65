"""Throughput between two Mininet nodes by iperf3, for ``net.iperf()``: only a first look."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from typing import Any

from emulator.errors import PodwireError, Problem, Unsupported

_START_S = 5.0


def throughput(client: Any, server: Any, wish: Sequence[str], seconds: int, port: int) -> list[str]:
    """What the server received and the client sent, as ``"9.41 Gbits/sec"``.

    Unsupported without iperf3; PodwireError with its words when it fails.
    """
    if shutil.which("iperf3") is None:
        raise Unsupported(
            Problem("net.iperf()", "iperf3 not installed", "the program",
                    "sudo apt-get install iperf3")
        )  # fmt: skip
    serving = server.popen(["iperf3", "--server", "--one-off", "--port", str(port)])
    try:
        deadline = time.monotonic() + _START_S
        while not _popen(server, "ss", "-Hltn", f"sport = :{port}"):
            if serving.poll() is not None or time.monotonic() > deadline:
                raise PodwireError(Problem(f"{server}: iperf3", "no start", f"port {port} open"))
        said = _popen(
            client, "iperf3", "--client", server.IP(), "--port", str(port),
            "--time", str(seconds), "--json", *wish,
        )  # fmt: skip
    finally:
        serving.kill()
        serving.communicate()
    found = json.loads(said or "{}")
    if "error" in found or "end" not in found:
        words = found.get("error", "no result")
        raise PodwireError(Problem(f"{client}: iperf3", words, "a connection to its server"))
    end = found["end"]
    received, sent = end.get("sum_received") or end["sum"], end.get("sum_sent") or end["sum"]
    return [_words(row["bits_per_second"]) for row in (received, sent)]


def _popen(node: Any, *argv: str) -> str:
    out: bytes = node.popen(list(argv)).communicate()[0]
    return out.decode()


def _words(bits_per_s: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if bits_per_s >= size:
            return f"{bits_per_s / size:.3g} {unit}bits/sec"
    return f"{bits_per_s:.3g} bits/sec"
