from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from emulator.errors import SpecError
from emulator.harness.experiment import Matrix, Pair
from emulator.harness.settings import Settings, narrow, parse_precision, widest, widths

MATRIX = Matrix.cross(
    ["host-gw", "host-gw again", "vxlan"],
    {"mtu": [1500]},
    [Pair("vxlan", "host-gw"), Pair("host-gw again", "host-gw", twin=True)],
)


def comparison(low: float, high: float, **other: Any) -> dict[str, Any]:
    return {"metric": "m", "treatment": "vxlan", "baseline": "host-gw", "factors": {"mtu": 1500},
            "ratio": 0.5, "ci": [low, high], "n": 12, "verdict": "slower"} | other  # fmt: skip


@pytest.mark.parametrize(("text", "share"), [("2%", 0.02), ("0.02", 0.02), (" 1.5 % ", 0.015)])
def test_precision_is_a_share(text: str, share: float) -> None:
    assert parse_precision(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["2", "0", "0%", "100%", "-1%", "two", "2%%", "nan", ""])
def test_precision_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="share such as 2%"):
        parse_precision(text)


def test_widths_are_relative_and_leave_twins_and_other_metrics_out() -> None:
    rows = [comparison(0.49, 0.51), comparison(0, 9, treatment="host-gw again"),
            comparison(0, 9, metric="other")]  # fmt: skip
    found = widths({"comparisons": rows}, ("m",), MATRIX)
    assert [(one.name, pytest.approx(one.half_width)) for one in found] == [
        ("m vxlan/host-gw 1500", 0.02)
    ]
    assert narrow(found, 0.0201)
    assert not narrow(found, 0.0199)
    assert widest(found) == "±2.0% (m vxlan/host-gw 1500)"


def test_few_blocks_stop_no_run() -> None:
    rows = [comparison(0.499, 0.501, n=11)]
    found = widths({"comparisons": rows}, ("m",), MATRIX)
    assert not narrow(found, 0.5)
    assert widest(found) == "no interval yet for m vxlan/host-gw 1500"
    assert not narrow([], 0.5)


def test_a_comparison_that_is_missing_stops_no_run() -> None:
    found = widths({"comparisons": []}, ("m",), MATRIX)
    assert not narrow(found, 0.5)
    assert widest(found) == "no interval yet for m vxlan/host-gw 1500"


def test_a_pair_that_does_not_hold_is_not_waited_for() -> None:
    for limits in ({"where": {"mtu": 9000}}, {"without": ("m",)}):
        pair = Pair("vxlan", "host-gw", **limits)  # type: ignore[arg-type]
        assert widths({"comparisons": []}, ("m",), replace(MATRIX, pairs=(pair,))) == []


def test_settings_that_contradict_themselves_are_refused_together() -> None:
    with pytest.raises(SpecError) as caught:
        Settings(0, precision=2.0)
    assert len(caught.value.problems) == 2
    with pytest.raises(SpecError, match="at least 80"):
        Settings(80, precision=0.02)
    with pytest.raises(SpecError, match="at least 12"):
        Settings(8, precision=0.02, most_blocks=9)


def test_settings_read_back_as_they_were_written() -> None:
    settings = Settings(8, options={"cpus": {"client": (0, 1)}})
    assert settings.as_json()["options"] == {"cpus": {"client": [0, 1]}}
