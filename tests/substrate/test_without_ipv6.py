"""A kernel that was booted with ``ipv6.disable=1``."""

from __future__ import annotations

import pytest

from emulator.plan.resources import Interface
from emulator.substrate import encode, stack


def test_the_table_that_is_not_there_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {"tcp": "head\n  0: 00000000:1451 00000000:0000 0A\n"}
    monkeypatch.setattr(stack, "IPV6", False)
    assert stack.listening(tables.__getitem__, "tcp", 0x1451)
    assert not stack.listening(tables.__getitem__, "tcp", 80)
    monkeypatch.setattr(stack, "IPV6", True)
    with pytest.raises(KeyError, match="tcp6"):
        stack.listening(tables.__getitem__, "tcp", 80)


def test_settings_that_the_kernel_would_refuse_are_not_sent() -> None:
    down = Interface("n1", "eth0", False, 1500)
    up = down._replace(up=True)

    def sent(inet6: bool) -> list[bytes]:
        return [m.body for m in encode.configure(up, down, lambda ns, name: 7, {}, inet6)]

    settings, flags = sent(True)
    assert sent(False) == [flags] and settings != flags
