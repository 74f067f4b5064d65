"""What Weave's router does with frames that no flow takes, and which flows it writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.substrate.daemons import weave_router
from emulator.substrate.daemons.weave_bridge import MAC_AGE_S, NOTHING, Bridge, Peer
from emulator.substrate.ovs import Key, Output, Tunnel

OWN = Peer("7e:00:00:00:00:01", 0x111, b"\x0a\0\0\1")
ONE = Peer("7e:00:00:00:00:02", 0x222, b"\x0a\0\0\2")
TWO = Peer("7e:00:00:00:00:03", 0x333, b"\x0a\0\0\3")
SELF, TUNNEL, CABLE = 0, 1, 2
HERE, HERE2, THERE, OTHER = (bytes((2, 0, 0, 0, 0, n)) for n in range(1, 5))
ALL = b"\xff" * 6


def bridge(*connected: Peer) -> Bridge:
    made = Bridge(OWN, [ONE, TWO], [SELF, CABLE], TUNNEL)
    made.connected([peer.name for peer in connected or (ONE, TWO)])
    return made


def sent(source: bytes, target: bytes) -> Key:
    """A frame from the node's own bridge."""
    return Key(CABLE, source, target)


def came(peer: Peer, source: bytes, target: bytes, to: Peer = OWN) -> Key:
    """A frame in the tunnel."""
    outside = Tunnel(peer.short | to.short << 12, peer.address, OWN.address)
    return Key(TUNNEL, source, target, outside)


def to(*peers: Peer, source: Peer = OWN) -> set[Output]:
    return {
        Output(TUNNEL, Tunnel(source.short | p.short << 12, OWN.address, p.address)) for p in peers
    }


def test_the_number_of_the_tunnel_has_the_sender_below_and_the_receiver_above() -> None:
    (out,) = to(ONE)
    assert out.tunnel is not None and out.tunnel.id == 0x222111


def test_a_broadcast_goes_everywhere_and_becomes_a_flow() -> None:
    found = bridge().decide(sent(HERE, ALL), 0)
    assert set(found.actions) == {Output(SELF), *to(ONE, TWO)} and found.flow


def test_an_unknown_address_is_sought_everywhere_and_becomes_none() -> None:
    """It would have to go as soon as somebody answers."""
    found = bridge().decide(sent(HERE, THERE), 0)
    assert set(found.actions) == {Output(SELF), *to(ONE, TWO)} and not found.flow


def test_what_has_been_heard_of_is_sent_to_one() -> None:
    made = bridge()
    found = made.decide(came(TWO, THERE, ALL), 0)
    assert set(found.actions) == {Output(SELF), Output(CABLE)} and found.flow
    assert made.decide(sent(HERE, THERE), 0) == (tuple(to(TWO)), True, False)
    assert made.decide(came(TWO, THERE, HERE), 0) == ((Output(CABLE),), True, False)


def test_broadcasts_of_others_are_not_passed_on() -> None:
    """Whoever sends them is connected to all; a tree with one level has no leaves below."""
    found = bridge().decide(came(ONE, THERE, ALL), 0)
    assert not [out for out in found.actions if out.tunnel]


def test_frames_for_a_third_are_passed_on_with_the_first_one_s_number() -> None:
    found = bridge().decide(came(ONE, THERE, OTHER, to=TWO), 0)
    assert set(found.actions) == to(TWO, source=ONE) and found.flow


def test_what_is_at_home_does_not_leave() -> None:
    made = bridge()
    made.decide(sent(HERE, ALL), 0)
    made.decide(sent(HERE2, ALL), 0)
    assert made.decide(sent(HERE, HERE2), 0) == NOTHING


def test_a_flow_never_leads_back_where_it_comes_from() -> None:
    made = bridge()
    made.decide(sent(HERE, ALL), 0)
    assert made.decide(Key(CABLE, HERE2, HERE), 0) == NOTHING


def test_what_was_put_into_the_bridge_is_not_caught_again() -> None:
    made = bridge()
    made.decide(came(ONE, THERE, ALL), 0)
    assert not [out for out in made.decide(sent(THERE, ALL), 0).actions if out.tunnel]


def test_an_address_that_is_at_another_peer_now_makes_flows_untrue() -> None:
    made = bridge()
    assert not made.decide(came(ONE, THERE, ALL), 0).invalid
    assert made.decide(came(TWO, THERE, ALL), 0).invalid
    assert made.decide(sent(HERE, THERE), 0).actions == tuple(to(TWO))


@pytest.mark.parametrize("later", [MAC_AGE_S - 1, MAC_AGE_S])
def test_where_an_address_is_gets_old(later: float) -> None:
    made = bridge()
    made.decide(came(ONE, THERE, ALL), 0)
    found = made.decide(sent(HERE, THERE), later)
    assert set(found.actions) == (to(ONE) if later < MAC_AGE_S else to(ONE, TWO))


def test_a_router_that_is_gone_gets_nothing_and_is_not_heard() -> None:
    made = bridge()
    made.decide(came(ONE, THERE, ALL), 0)
    made.connected([TWO.name])
    assert to(ONE).isdisjoint(made.decide(sent(HERE, ALL), 0).actions)
    assert made.decide(came(ONE, OTHER, ALL), 0) == NOTHING


def test_strangers_heartbeats_and_spanning_trees_lead_nowhere() -> None:
    made = bridge()
    stranger = Peer("7e:00:00:00:00:09", 0x999, b"\x0a\0\0\x09")
    assert made.decide(came(stranger, THERE, ALL), 0) == NOTHING
    assert made.decide(came(ONE, bytes(6), bytes(6)), 0) == NOTHING
    assert made.decide(Key(77, HERE, ALL), 0) == NOTHING
    found = made.decide(sent(HERE, bytes.fromhex("0180c2000000")), 0)
    assert not [out for out in found.actions if out.tunnel]


@given(st.lists(st.sampled_from((sent(HERE, ALL), sent(HERE, THERE), came(ONE, THERE, HERE),
                                 came(TWO, OTHER, ALL), sent(HERE2, OTHER)))))  # fmt: skip
def test_nothing_goes_back_and_nothing_twice(keys: list[Key]) -> None:
    made = bridge()
    for key in keys:
        found = made.decide(key, 0)
        assert len(set(found.actions)) == len(found.actions)
        assert not [out for out in found.actions if out == Output(key.in_port)]


def test_settings() -> None:
    text = "datapath datapath\nname a 291 10.0.0.1  # us\n\npeer b 7 10.0.0.2\n"
    found = weave_router.settings(text)
    assert found == ("datapath", Peer("a", 291, b"\x0a\0\0\1"), (Peer("b", 7, b"\x0a\0\0\2"),))
    for wrong in ("datapath x\n", "name a 1 10.0.0.1\n", text + "peer c\n"):
        with pytest.raises(ValueError, match=r"wants|understood"):
            weave_router.settings(wrong)
