"""Configurations of BIRD: as text that people read, and taken by BIRD's own parser."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from emulator.datapath import bird

WHOLE = """\
log stderr all;
router id 10.0.0.1;

filter own {
    if net = 10.0.0.0/8 then reject;
    accept;
}

protocol device {
    scan time 2;
}

protocol direct {
    ipv4;
    check link yes;
    interface "eth*", "-cali*";
}

protocol kernel {
    learn;
    merge paths on;
    scan time 2;
    ipv4 {
        import none;
        export filter own;
    };
}

protocol bfd {
    interface "eth*" {
        interval 100 ms;
        multiplier 3;
    };
}

protocol static 'blocks' {
    ipv4 { };
    route 10.244.1.0/26 blackhole;
}

template bgp peers {
    direct;
    hold time 9;
}

protocol bgp 'spine-1' from peers {
    local 10.0.0.1 as 65001;
    neighbor 10.0.0.2 as 65002;
    check link yes;
    bfd on;
    ipv4 {
        import all;
        export where source = RTS_BGP;
        next hop self;
    };
}
"""


def test_a_whole_file() -> None:
    own = "filter own {\n    if net = 10.0.0.0/8 then reject;\n    accept;\n}"
    text = bird.config(
        "10.0.0.1",
        [
            own,
            bird.device(),
            bird.direct(["eth*", "-cali*"]),
            bird.kernel("filter own", merge_paths=True, learn=True),
            bird.bfd(["eth*"], 100, 3),
            bird.static("blocks", ["10.244.1.0/26 blackhole"]),
            bird.template("peers", ["direct", "hold time 9"]),
            bird.bgp(
                "spine-1",
                bird.Speaker("10.0.0.1", 65001),
                bird.Speaker("10.0.0.2", 65002),
                exports="where source = RTS_BGP",
                channel_options=["next hop self"],
                options=["check link yes", "bfd on"],
                template="peers",
            ),
        ],
    )
    assert text == WHOLE


@pytest.mark.kernel
def test_bird_takes_it(tmp_path: Path) -> None:
    file = tmp_path / "bird.conf"
    file.write_text(WHOLE)
    checked = subprocess.run(["bird", "-p", "-c", file], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
