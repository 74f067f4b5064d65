from __future__ import annotations

import io

from emulator.harness.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_that_leaves_nothing_behind() -> None:
    time_s = [0.0]
    terminal = Terminal()
    progress = Progress(terminal, 4, lambda: time_s[0])
    progress.cell("block 1/2", "vxlan")
    time_s[0] = 30.0
    progress.done()
    progress.cell("block 1/2", "host-gw")
    progress.block("not for a terminal")
    progress.say("complete")
    drawn = terminal.getvalue().split("\r")
    assert drawn[1] == "[........................]   0%  block 1/2  vxlan  time left unknown"
    assert drawn[2].rstrip() == (
        "[######..................]  25%  block 1/2  host-gw  about 1:30 left"
    )
    assert drawn[-2].strip() == ""
    assert drawn[-1] == "complete\n"


def test_a_log_gets_a_line_per_block() -> None:
    time_s = [0.0]
    log = io.StringIO()
    progress = Progress(log, 2, lambda: time_s[0])
    progress.cell("block 1/2", "vxlan")
    time_s[0] = 61.0
    progress.done()
    progress.block("block 1/2 in 61.0 s")
    progress.close()
    assert log.getvalue() == "block 1/2 in 61.0 s, about 1:01 left\n"
