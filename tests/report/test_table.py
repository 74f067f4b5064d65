from __future__ import annotations

from typing import Any

from emulator.report import table
from emulator.report.table import Table

SUMMARY: dict[str, Any] = {
    "comparisons": [
        {"metric": "throughput_bit_s", "treatment": "vxlan", "baseline": "host-gw",
         "factors": {"offload": "wire", "mtu": 1500}, "ratio": 0.76123, "ci": [0.74, 0.7815],
         "n": 12, "verdict": "slower"},
        {"metric": "throughput_bit_s", "treatment": "host-gw again", "baseline": "host-gw",
         "factors": {"offload": "wire", "mtu": 1500}, "ratio": 1.01, "ci": [0.7, 1.4], "n": 3,
         "verdict": "too few blocks"},
    ],
    "cells": [
        {"metric": "throughput_bit_s", "arm": "vxlan", "factors": {}, "unit": "bit/s",
         "median": 4.5123e9, "ci": [4.41e9, 4.62e9], "n": 12, "unsupported": ""},
        {"metric": "tcp_rtt_p50_us", "arm": "vxlan", "factors": {}, "unit": "us",
         "median": 33.333, "ci": [32.9, 34.1], "n": 12, "unsupported": ""},
        {"metric": "tcp_rtt_p999_us", "arm": "vxlan", "factors": {}, "unit": "us",
         "median": None, "ci": [None, None], "n": 0, "unsupported": ""},
        {"metric": "retransmits", "arm": "vxlan", "factors": {}, "unit": "1",
         "median": 0.0, "ci": [0.0, 0.0], "n": 12, "unsupported": ""},
    ],
    "bench": "",
}  # fmt: skip


RATIOS = """\
metric            ratio of                 factors                ratio   95 % interval   n  verdict
────────────────  ───────────────────────  ─────────────────────  ─────  ──────────────  ──  ──────────────
throughput_bit_s  vxlan / host-gw          offload=wire mtu=1500  0.761  [0.740, 0.781]  12  slower
                  host-gw again / host-gw  offload=wire mtu=1500   1.01   [0.70 … 1.40]   3  too few blocks
"""  # noqa: E501


def test_ratios_for_the_terminal() -> None:
    assert table.text(table.ratios(SUMMARY)) == RATIOS


def test_values_for_the_terminal() -> None:
    assert (
        table.text(table.values(SUMMARY))
        == """\
metric            mode   factors  median  95 % interval  unit     n
────────────────  ─────  ───────  ──────  ─────────────  ──────  ──
throughput_bit_s  vxlan             4.51   [4.41, 4.62]  Gbit/s  12
tcp_rtt_p50_us    vxlan             33.3   [32.9, 34.1]  µs      12
tcp_rtt_p999_us   vxlan                –                 us       0
retransmits       vxlan             0.00   [0.00, 0.00]          12
"""
    )


def test_the_same_rows_for_other_programs() -> None:
    rows = table.ratios(SUMMARY)
    assert table.markdown(rows).splitlines()[1:3] == [
        "| --- | --- | --- | ---: | ---: | ---: | --- |",
        "| throughput_bit_s | vxlan / host-gw | offload=wire mtu=1500 | 0.761 | [0.740, 0.781] "
        "| 12 | slower |",
    ]
    assert table.csv(rows).splitlines()[1] == (
        'throughput_bit_s,vxlan / host-gw,offload=wire mtu=1500,0.761,"[0.740, 0.781]",12,slower'
    )
    latex = table.latex(rows)
    assert latex.startswith("\\begin{tabular}{lllrrrl}\n\\toprule\nmetric & ratio of & ")
    assert "throughput\\_bit\\_s & vxlan / host-gw" in latex
    assert "95 \\% interval" in latex
    assert "[0.70 \\ldots{} 1.40]" in latex


def test_a_cell_that_only_empty_ones_follow_takes_their_room() -> None:
    rows = (
        ("host-gw", "unsupported: 50 % of it", "", ""),
        ("vxlan", "1", "2", ""),
        ("udp", "3", "4", "5"),
    )
    shown = Table(("mode", "a", "b", "c"), rows, frozenset({"a", "b", "c"}))
    lines = table.latex(shown).splitlines()
    assert lines[4] == "host-gw & \\multicolumn{3}{l}{unsupported: 50 \\% of it} \\\\"
    assert lines[6] == "udp & 3 & 4 & 5 \\\\"
    assert table.text(shown).splitlines() == [
        "mode     a  b  c",
        "───────  ─  ─  ─",
        "host-gw  unsupported: 50 % of it",
        "vxlan    1  2",
        "udp      3  4  5",
    ]


def test_a_cell_of_a_summary_in_one_piece() -> None:
    throughput, _, failed, zero = SUMMARY["cells"]
    assert table.spread(throughput, 1e9) == "4.51 [4.41, 4.62]"
    assert table.spread(throughput | {"n": 3}, 1e9) == "4.51 [4.41 … 4.62]"
    assert table.spread(failed) == "failed"
    assert table.spread(zero) == "0.00 [0.00, 0.00]"


def test_what_the_bench_lacks_is_a_row_and_the_bench_is_named_in_every_form() -> None:
    lacking = SUMMARY["cells"][0] | {"median": None, "unsupported": "needs KVM or --on virtual"}
    shown = table.values({"cells": [lacking], "bench": "vm (tcg, QEMU 7.2.22)"})
    assert shown.rows == (
        ("throughput_bit_s", "vxlan", "", "unsupported: needs KVM or --on virtual", "", "", ""),
    )
    assert table.spread(lacking) == "unsupported"
    assert table.text(shown).endswith("\nbench: vm (tcg, QEMU 7.2.22)\n")
    assert table.markdown(shown).endswith("\n\nBench: vm (tcg, QEMU 7.2.22).\n")
    assert table.csv(shown).splitlines()[0].endswith(",bench")
    assert table.csv(shown).splitlines()[1].endswith(',"vm (tcg, QEMU 7.2.22)"')
    assert "\n\\multicolumn{7}{l}{Bench: vm (tcg, QEMU 7.2.22)} \\\\\n" in table.latex(shown)
    assert "ench" not in table.csv(table.values(SUMMARY))


def test_a_metric_that_no_mode_supports_is_one_row() -> None:
    why = "needs KVM or --on virtual"
    lacking = SUMMARY["cells"][0] | {"median": None, "unsupported": why}
    cells = [lacking, SUMMARY["cells"][1], lacking | {"arm": "host-gw"}]
    assert [row[:4] for row in table.values(SUMMARY | {"cells": cells}).rows] == [
        ("throughput_bit_s", "all", "all", f"unsupported: {why}"),
        ("tcp_rtt_p50_us", "vxlan", "", "33.3"),
    ]
    cells[2] = lacking | {"arm": "host-gw", "unsupported": "no such device"}
    assert len(table.values(SUMMARY | {"cells": cells}).rows) == 3
