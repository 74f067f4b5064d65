"""Connect, request, response: the report of the program, and the program itself on loopback."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.measure import connect, crr
from emulator.measure.failure import MeasureFailed


def report(**changes: object) -> bytes:
    whole = {
        "format": 1, "linger_s": 0, "warm_up": 20, "elapsed_s": 0.5, "errors": [],
        "connect_us": [20.0, 30.0, 40.0], "total_us": [60.0, 70.0, 80.0],
    }  # fmt: skip
    return json.dumps({**whole, **changes}).encode()


def test_samples_of_a_report(scripted: Any) -> None:
    server = scripted(lambda argv: None)
    client = scripted(lambda argv: (report(), b""))
    measured = connect.latency(server, client, seconds=1, count=3, target_ip="10.96.0.9")
    assert measured.value("connect_p50_us") == 30
    assert measured.value("crr_p50_us") == 70
    assert measured.value("connect_rate_per_s") == 6
    assert measured.value("crr_p99_us") is None
    assert measured.samples[0].detail["close"] == "linger 0"
    assert measured.raw == {"crr.json": report()}
    assert "10.96.0.9" in client.commands[0][0]
    assert "10.244.0.2" in server.commands[0][0]
    assert server.started[0].killed


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2}, {"connect_us": [1.0]}, {"total_us": None}, {"total_us": [1, 2, -3]},
        {"elapsed_s": "x"}, {"elapsed_s": float("nan")}, {"connect_us": [1, 2, "three"]},
        {"errors": 4},
    ],
)  # fmt: skip
def test_a_report_that_does_not_fit_fails(changes: dict[str, object]) -> None:
    with pytest.raises(MeasureFailed, match="no complete report"):
        connect.parse(report(**changes))


@given(st.binary(max_size=100) | st.integers(0, len(report()) - 1).map(lambda end: report()[:end]))
def test_garbage_and_truncation_raise_nothing_else(text: bytes) -> None:
    with pytest.raises(MeasureFailed):
        connect.parse(text)


def test_failing_transactions_end_the_run_and_are_named(scripted: Any) -> None:
    failed = report(errors=["timed out"] * 5)
    place = scripted(lambda argv: None if "server" in argv else (failed, b""))
    measured = connect.latency(place, place, seconds=1)
    assert len(measured.samples) == len(connect.METRICS)
    assert {sample.failure for sample in measured.samples} == {"5 transactions failed: timed out"}


def test_a_hanging_client_is_a_failure(scripted: Any) -> None:
    place = scripted(lambda argv: None)
    measured = connect.latency(place, place, seconds=2)
    assert "crr client still ran after 7 s" in measured.samples[0].failure


def test_the_program_stops_at_the_count_and_leaves_no_time_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = threading.Thread(target=crr.serve, args=("127.0.0.1", port, 0.7, 4, 100))
    server.start()
    try:
        answer: dict[str, Any] = {"total_us": []}
        while not answer["total_us"] and server.is_alive():
            answer = crr.ask(("127.0.0.1", port), 2.0, 50, 4, 100)
    finally:
        server.join()
    assert len(answer["total_us"]) == len(answer["connect_us"]) == 50
    assert all(
        0 < first < whole
        for first, whole in zip(answer["connect_us"], answer["total_us"], strict=True)
    )
    with open("/proc/net/tcp") as table:
        ours = [line for line in table if f":{port:04X} " in line]
    assert ours == []


def test_the_program_gives_up_when_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    answer = crr.ask(("127.0.0.1", port), 5.0, 50, 1, 1)
    assert answer["total_us"] == []
    assert answer["errors"] == ["[Errno 111] Connection refused"] * crr.MOST_ERRORS
