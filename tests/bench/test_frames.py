"""The stream between the ends of a command in the guest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emulator.bench import frames
from emulator.bench.frames import Kind, Order

CHUNKS = st.lists(st.tuples(st.sampled_from((Kind.STDOUT, Kind.STDERR)), st.binary(max_size=200)))


@given(CHUNKS, st.binary(max_size=100), st.lists(st.integers(1, 50), max_size=40))
def test_what_is_sent_arrives_however_the_stream_is_cut(
    sent: list[tuple[Kind, bytes]], before: bytes, cuts: list[int]
) -> None:
    mark = frames.mark("5f" * 16)
    stream = before + mark + b"".join(frames.frame(kind, data) for kind, data in sent)
    reader = frames.Reader(after=mark)
    got = []
    for size in [*cuts, len(stream)]:
        reader.feed(stream[:size])
        stream = stream[size:]
        got += list(reader)
    assert got == [(int(kind), data) for kind, data in sent]


def test_before_the_mark_nothing_counts() -> None:
    reader = frames.Reader(after=frames.mark("now"))
    reader.feed(frames.frame(Kind.EXIT, b"\0\0\0\0") + frames.mark("before"))
    assert not reader.begun
    assert list(reader) == []


def test_long_data_travels_in_several_frames() -> None:
    data = bytes(range(256)) * 1000
    reader = frames.Reader()
    reader.feed(frames.data(Kind.STDOUT, data))
    parts = [payload for _, payload in reader]
    assert len(parts) > 1
    assert b"".join(parts) == data


def test_an_order_arrives_whole() -> None:
    for window in (None, (24, 80)):
        order = Order("m", ["ls", "ä\n"], "", "/tmp", {"A": "b"}, ["/x"], [], window)
        ((kind, payload),) = _read(frames.order(order))
        assert kind == Kind.START
        assert frames.read_order(payload) == order


def _read(stream: bytes) -> list[tuple[int, bytes]]:
    reader = frames.Reader()
    reader.feed(stream)
    return list(reader)
