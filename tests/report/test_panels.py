from __future__ import annotations

import pytest
from figure_texts import readable

from emulator.report import style
from emulator.report.panels import Panel, panels
from emulator.report.plots import Drawn, Ratio


def near(value: float, count: int = 8) -> list[float]:
    """Single blocks around a ratio."""
    return [value * (1 + 0.02 * (at - count / 2)) for at in range(count)]


TITLES = {arm: arm for arm in ("host-gw", "vxlan", "udp", "sleeve", "kubenet")}
PLACES = ("one rack", "two racks")


def ratios(
    low: float, high: float, places: tuple[str, ...] = PLACES
) -> dict[tuple[str, str], Ratio]:
    step = (high / low) ** (1 / (len(TITLES) - 1))
    return {
        (arm, place): Ratio(place, arm, low * step**at, low * step**at * 0.9, low * step**at * 1.1,
                            near(low * step**at))
        for at, arm in enumerate(TITLES) for place in places
        if (arm, place) != ("host-gw", "two racks")
    }  # fmt: skip


def drawn(count: int = 5, places: tuple[str, ...] = PLACES) -> Drawn:
    spans = ((0.05, 1.0), (0.5, 1.1), (0.99, 1.01), (1.0, 8.0), (0.9, 60.0))
    shown = [
        Panel(f"metric {at}", "ratio to host\n(lower is better)", ratios(*span, places), 0.05)
        for at, span in enumerate(spans[:count])
    ]
    return panels(TITLES, places, shown, [("host-gw", place) for place in places[1:]])


@pytest.mark.parametrize("count", [1, 3, 5])
@pytest.mark.parametrize("places", [PLACES, PLACES[:1]])
def test_no_text_is_over_another_or_cut_off(count: int, places: tuple[str, ...]) -> None:
    with style.thesis():
        shown = drawn(count, places).figure
        assert shown.get_figwidth() == style.PAGE_IN
        readable(shown)


def test_every_number_is_in_the_rows_and_one_is_in_every_panel() -> None:
    found = drawn(3)
    assert sum(row["kind"] == "median" for row in found.rows) == 3 * (2 * len(TITLES) - 1)
    assert len(found.rows) == 9 * 3 * (2 * len(TITLES) - 1)
    for axes in found.figure.axes:
        low, high = axes.get_xlim()
        assert low < 1 < high
        assert 1 in axes.xaxis.get_majorticklocs()
