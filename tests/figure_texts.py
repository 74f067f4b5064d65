"""What of a figure can be read: every text whole, none over another, none too small."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from matplotlib.figure import Figure


def texts(shown: Figure) -> list[Any]:
    """The texts that are seen, with their boxes in pixels."""
    shown.draw_without_rendering()
    found: list[Any] = [text for legend in shown.legends for text in legend.get_texts()]
    for axes in shown.axes:
        axis_pairs = [axes.xaxis, axes.yaxis]
        for child in axes.child_axes:
            axis_pairs.append(child.yaxis)
        for axis in axis_pairs:
            low, high = sorted(axis.get_view_interval())
            found += [
                tick.label2 if tick.label2.get_visible() else tick.label1
                for tick in axis.get_major_ticks()
                if low <= tick.get_loc() <= high
            ]
            found.append(axis.label)
        found += [*axes.texts, axes.title]
    return [text for text in found if text.get_text() and text.get_visible()]


def readable(shown: Figure) -> None:
    """AssertionError with the text that is not. To be called inside ``style.thesis()``."""
    found = texts(shown)
    boxes = [(text.get_text(), text.get_window_extent()) for text in found]
    assert len(boxes) > 4
    for label, box in boxes:
        assert box.x0 >= shown.bbox.x0 - 1 and box.x1 <= shown.bbox.x1 + 1, label
        assert box.y0 >= shown.bbox.y0 - 1 and box.y1 <= shown.bbox.y1 + 1, label
    for (one, first), (other, second) in combinations(boxes, 2):
        overlap = min(first.x1, second.x1) - max(first.x0, second.x0)
        beside = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert overlap <= 1 or beside <= 1, (one, other)
    assert all(7 <= text.get_fontsize() <= 9 for text in found)
