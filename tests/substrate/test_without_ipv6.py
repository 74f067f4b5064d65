"""A kernel that was booted with ``ipv6.disable=1``."""

from __future__ import annotations

import errno

import pytest

from emulator.errors import KernelRefused, Unsupported
from emulator.plan.resources import Addr, Interface
from emulator.substrate import encode, stack
from emulator.substrate.refusal import refused


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


def test_nor_for_an_interface_that_is_too_small_for_ipv6() -> None:
    down = Interface("n1", "eth0", False, 1279)
    up = down._replace(up=True)
    (flags,) = encode.configure(up, down, lambda ns, name: 7, {}, True)
    assert len(flags.body) == 16


def test_an_address_of_ipv6_is_not_supported_there(monkeypatch: pytest.MonkeyPatch) -> None:
    address = Addr("n1", "eth0", "fd00::1/64")
    monkeypatch.setattr(stack, "IPV6", False)
    error = refused(address, errno.EOPNOTSUPP, "")
    assert isinstance(error, Unsupported)
    assert "ipv6.disable=1" in str(error)
    monkeypatch.setattr(stack, "IPV6", True)
    assert isinstance(refused(address, errno.EOPNOTSUPP, ""), KernelRefused)
