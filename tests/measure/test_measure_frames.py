from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.measure.failure import MeasureFailed
from emulator.measure.frames import Frame, frames


def pcap(*found: Frame, order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    head = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262_144, 1)
    return head + b"".join(
        struct.pack(f"{order}4I", 1, 2, len(one.data), one.length_b) + one.data for one in found
    )


FRAMES = st.builds(Frame, st.integers(0, 65_535), st.binary(max_size=60))


@given(
    st.lists(FRAMES, max_size=5), st.sampled_from("<>"), st.sampled_from([0xA1B2C3D4, 0xA1B23C4D])
)
def test_what_was_captured_comes_back(found: list[Frame], order: str, magic: int) -> None:
    assert list(frames(pcap(*found, order=order, magic=magic))) == found


@given(st.lists(FRAMES, min_size=1, max_size=3), st.data())
def test_a_frame_that_is_cut_off_is_left_out(found: list[Frame], data: st.DataObject) -> None:
    whole, before = pcap(*found), pcap(*found[:-1])
    cut = data.draw(st.integers(len(before), len(whole) - 1))
    assert list(frames(whole[:cut])) == found[:-1]


@pytest.mark.parametrize("data", [b"", b"tcpdump: no such device", bytes(24)])
def test_what_is_no_capture_is_refused(data: bytes) -> None:
    with pytest.raises(MeasureFailed, match="pcap"):
        list(frames(data))
