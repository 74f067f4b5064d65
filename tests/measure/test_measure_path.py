from __future__ import annotations

from emulator.measure.path import Look, between


def counted(tx_bytes: int, tx_packets: int) -> dict[str, int]:
    return {"tx_bytes": tx_bytes, "tx_packets": tx_packets}


def test_the_mean_frame_and_the_tunnels_bytes_are_what_came_in_between() -> None:
    before = Look(counted(1000, 10), counted(500, 5))
    after = Look(counted(151_000, 110), counted(140_500, 105))
    measured = between(before, after)
    assert measured.value("uplink_tx_b") == 150_000
    assert measured.value("frame_b") == 1500
    assert measured.value("tunnel_tx_b") == 140_000


def test_without_a_frame_there_is_no_mean_and_without_a_tunnel_no_sample_of_it() -> None:
    look = Look(counted(1000, 10), None)
    measured = between(look, look)
    assert measured.value("uplink_tx_b") == 0
    assert measured.samples[1].failure == "no frame left on the uplink"
    assert len(measured.samples) == 2
