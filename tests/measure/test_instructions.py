"""Marks, subsystems, and what becomes of counts."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.measure import instructions, marked, subsystems
from emulator.measure.instructions import NEEDED
from emulator.measure.marked import Load
from emulator.measure.sample import INSTRUCTIONS, METRICS, failed, good
from emulator.measure.subsystems import NAMES, OTHER, USER, Function

LOAD = Load(echoes=10, bursts=2, burst_packets=4, payload_b=64, short_b=1000, long_b=3000)
VXLAN, IP, LOST = Function("vxlan_xmit", "vxlan"), Function("ip_rcv"), Function("unheard_of")


def yet_to_fill(phase: int, less: int = 0, units: int = 10):  # type: ignore[no-untyped-def]
    window = {"phase": phase, "less": less, "units": units, "elapsed_ns": 1000}
    return failed(INSTRUCTIONS[0], NEEDED, **window)._replace(supported=False)


def test_a_mark_is_one_nop_of_eight_bytes_with_its_phase() -> None:
    assert marked.nop(0) == bytes.fromhex("0f 1f 84 00 50 77 00 00")
    assert marked.nop(0x0203) == bytes.fromhex("0f 1f 84 00 50 77 03 02")
    with pytest.raises(ValueError, match="phase 65536"):
        marked.nop(1 << 16)


@given(st.integers(0, (1 << 16) - 1))
def test_phases_come_back_from_marks(phase: int) -> None:
    code = marked.nop(phase)
    assert len(code) == 8
    assert int.from_bytes(code[6:], "little") == phase


def test_a_mark_does_nothing() -> None:
    mark = marked.Marker()
    for phase in range(len(marked.PHASES)):
        mark(phase)


def test_windows_are_over_all_units_of_their_phases() -> None:
    trips, packets, stream = instructions.windows(LOAD, [0, 5, 7, 100, 350])
    assert (trips.phase, trips.less, trips.units, trips.elapsed_ns) == (1, 0, 10, 5)
    assert (packets.phase, packets.units) == (2, 2 * (4 + 1)), "what comes back is a packet, too"
    assert (stream.phase, stream.less, stream.units, stream.elapsed_ns) == (4, 3, 2000, 250)


@pytest.mark.parametrize(
    ("function", "subsystem"),
    [
        (Function("vxlan_xmit_one", "vxlan"), "encapsulation"),
        (Function("memcpy", "wireguard"), "encapsulation"),
        (Function("fdb_find_rcu", "bridge"), "bridge, veth"),
        (Function("nf_hook_slow"), "netfilter"),
        (Function("br_nf_pre_routing", "br_netfilter"), "netfilter"),
        (Function("poly1305_final", "libpoly1305"), "encryption"),
        (Function("__netif_receive_skb_core.constprop.0"), "devices, softirq"),
        (Function("inet_gro_receive"), "GRO, GSO"),
        (Function("skb_udp_tunnel_segment"), "GRO, GSO"),
        (Function("iptunnel_xmit"), "encapsulation"),
        (Function("skb_scrub_packet"), "bridge, veth"),
        (Function("validate_xmit_xfrm"), "devices, softirq"),
        (Function("xfrm_output"), "encapsulation"),
        (Function("xfrm_lookup_with_ifid"), "routing, IP"),
        (Function("fib_table_lookup"), "routing, IP"),
        (Function("__udp4_lib_rcv"), "TCP, UDP"),
        (Function("tcp_v4_rcv"), "TCP, UDP"),
        (Function("copy_user_generic_string"), "copies, checksums"),
        (Function("csum_partial"), "copies, checksums"),
        (Function("__copy_skb_header"), "memory"),
        (Function("__alloc_skb"), "memory"),
        (Function("__rcu_read_lock"), "locks, lists, RCU"),
        (Function("_raw_spin_lock_irqsave"), "locks, lists, RCU"),
        (Function("__schedule"), "scheduling, timers"),
        (Function("hrtimer_interrupt"), "scheduling, timers"),
        (Function("__sys_sendto"), "sockets, system calls"),
        (Function("entry_SYSCALL_64_after_hwframe"), "sockets, system calls"),
        (Function("?"), OTHER),
        (Function("ip_rcv", "a_module_of_nobody"), "routing, IP"),
    ],
)
def test_functions_belong_to_subsystems(function: Function, subsystem: str) -> None:
    assert subsystems.of(function) == subsystem


def test_every_rule_is_of_a_subsystem_that_figures_know() -> None:
    ruled = {name for name, _ in (*subsystems.MODULES, *subsystems.FUNCTIONS)}
    assert ruled | {OTHER} == set(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_no_words_stand_twice_in_a_row() -> None:
    """Neighbours of one subsystem would be one row."""
    for table in (subsystems.MODULES, subsystems.FUNCTIONS):
        assert all(one != other for (one, _), (other, _) in pairwise(table))


def test_instructions_are_counts_and_not_speed() -> None:
    assert all(METRICS[name].counted for name in INSTRUCTIONS)


def test_a_filled_sample_is_a_share_without_user_space() -> None:
    phases = {1: Counter({VXLAN: 300, IP: 500, LOST: 200, USER: 9000})}
    sample = instructions.filled(yet_to_fill(1), phases)
    assert (sample.value, sample.status) == (100.0, "measured")
    assert sample.detail["subsystems"] == dict.fromkeys(NAMES, 0.0) | {
        "encapsulation": 30.0, "routing, IP": 50.0, OTHER: 20.0,
    }  # fmt: skip
    assert sample.detail["functions"][0] == ("ip_rcv", "", "routing, IP", 50.0)
    assert (sample.detail["kernel"], sample.detail["user"]) == (1000, 9000)


def test_a_window_is_the_difference_of_two_phases() -> None:
    phases = {3: Counter({IP: 100, LOST: 5, USER: 10}), 4: Counter({IP: 400, USER: 30})}
    sample = instructions.filled(yet_to_fill(4, 3, 100), phases)
    assert sample.value == (400 - 100 - 5) / 100
    assert sample.detail["subsystems"][OTHER] == -0.05
    assert sample.detail["user"] == 20


def test_what_is_no_count_stays_as_it_is() -> None:
    there, broken = good(INSTRUCTIONS[0], 5.0), failed(INSTRUCTIONS[1], "it hung")
    assert instructions.filled(there, {}) is there
    assert instructions.filled(broken, {}) is broken


def test_a_phase_that_nobody_counted_is_a_failure() -> None:
    sample = instructions.filled(yet_to_fill(1), {2: Counter({IP: 1})})
    assert sample.status == "failed"
    assert "phase 1 was not counted" in sample.failure


functions = st.builds(
    Function, st.sampled_from(["ip_rcv", "memcpy", "zz", "vxlan_rcv"]),
    st.sampled_from(["", "vxlan", "x"]),
)  # fmt: skip


@given(st.dictionaries(functions, st.integers(0, 10**9)), st.integers(1, 10**4))
def test_subsystems_and_functions_sum_up_to_the_value(counts: dict[Function, int], n: int) -> None:
    sample = instructions.filled(yet_to_fill(1, units=n), {1: Counter(counts)})
    assert sample.value == sum(counts.values()) / n
    parts = sample.detail["subsystems"]
    assert sum(parts.values()) == pytest.approx(sample.value)
    assert sum(one[3] for one in sample.detail["functions"]) == pytest.approx(sample.value)


def test_the_text_of_all_functions_has_a_line_for_each() -> None:
    text = instructions.as_text({1: Counter({VXLAN: 3, USER: 9}), 2: Counter({IP: 1})})
    assert text.splitlines() == [
        "phase\tinstructions\tsubsystem\tmodule\tfunction",
        "round trips\t9\tother\t\tuser",
        "round trips\t3\tencapsulation\tvxlan\tvxlan_xmit",
        "packets\t1\trouting, IP\t\tip_rcv",
    ]
