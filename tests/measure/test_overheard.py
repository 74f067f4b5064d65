"""What is found in captured frames: payloads by their mark, and the kind of what is around them."""

from __future__ import annotations

from emulator.measure.frames import Frame
from emulator.measure.overheard import kind, said

MARKER = bytes(range(24))
ADDRESSES = bytes(12)


def ipv4(protocol: int, rest: bytes, options: bytes = b"") -> Frame:
    head = bytes([0x40 | (20 + len(options)) // 4]) + bytes(8) + bytes([protocol]) + bytes(10)
    return frame(0x800, head + options + rest)


def frame(ether: int, body: bytes) -> Frame:
    data = ADDRESSES + ether.to_bytes(2, "big") + body
    return Frame(len(data), data)


def ports(source: int, target: int) -> bytes:
    return source.to_bytes(2, "big") + target.to_bytes(2, "big")


def test_a_payload_is_known_by_its_mark_wherever_it_stands() -> None:
    # ten is the byte of a newline
    payloads = [MARKER + number.to_bytes(4, "big") + MARKER for number in (1, 10)]
    text = b"outer" + b"".join(payloads)
    assert said(MARKER, 11, text) == {1, 10}
    assert said(MARKER, 10, text) == {1}
    assert said(MARKER, 11, text[:20]) == said(bytes(24), 11, text) == set()
    assert said(MARKER, 11, text[:33]) == {1}, "cut in two"


def test_a_kind_is_the_outer_protocol_and_the_known_port() -> None:
    assert kind(ipv4(17, ports(40000, 51820))) == "udp 51820"
    assert kind(ipv4(17, ports(906, 6081))) == "udp 6081", "Geneve comes from any port"
    assert kind(ipv4(6, ports(7070, 40000), options=bytes(4))) == "tcp 7070"
    assert kind(ipv4(50, b"")) == "esp"
    assert kind(ipv4(4, b"")) == "4"
    six = bytes(6) + bytes([58]) + bytes(33)
    assert kind(frame(0x86DD, six)) == "icmp6"
    assert kind(frame(0x806, bytes(28))) == "", "ARP"
    assert kind(ipv4(2, bytes(8))) == "", "a report of a multicast group"
