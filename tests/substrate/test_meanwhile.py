"""Namespaces that a child makes while its parent computes."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable

import pytest
from world import in_a_world, kernel

from emulator.errors import KernelRefused
from emulator.plan import Op
from emulator.plan.resources import Netns
from emulator.substrate import meanwhile

pytestmark = pytest.mark.kernel

MANY = 250


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _no_child() -> None:
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def _after(count: int, then: Callable[[], int]) -> Callable[[], int]:
    """``meanwhile.namespace`` so often, and then something else."""
    make = meanwhile.namespace
    left = iter(range(count))
    return lambda: then() if next(left, None) is None else make()


def _full() -> int:
    raise OSError(errno.ENOSPC, "no room")


def test_all_are_new_and_none_is_the_parents() -> None:
    def body() -> None:
        before = _descriptors()
        with meanwhile.namespaces(MANY) as made:
            found = [next(made) for _ in range(MANY)]
        inodes = {os.fstat(fd).st_ino for fd in found}
        assert len(inodes) == MANY
        assert os.stat("/proc/self/ns/net").st_ino not in inodes
        assert not any(os.get_inheritable(fd) for fd in found)
        for fd in found:
            os.close(fd)
        assert _descriptors() == before
        _no_child()

    in_a_world(body)


def test_who_wants_no_more_leaves_nothing() -> None:
    def body() -> None:
        before = _descriptors()
        with meanwhile.namespaces(MANY) as made:
            os.close(next(made))
        assert _descriptors() == before
        _no_child()

    in_a_world(body)


def test_what_the_child_is_refused_comes_after_what_it_has_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def body() -> None:
        with meanwhile.namespaces(MANY) as made:
            for _ in range(120):
                next(made)
            with pytest.raises(OSError, match="No space") as refused:
                next(made)
        assert refused.value.errno == errno.ENOSPC

    monkeypatch.setattr(meanwhile, "namespace", _after(120, _full))
    in_a_world(body)


def test_a_child_that_is_killed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed() -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def body() -> None:
        with meanwhile.namespaces(MANY) as made, pytest.raises(ChildProcessError):
            for _ in range(MANY):
                next(made)

    monkeypatch.setattr(meanwhile, "namespace", _after(100, killed))
    in_a_world(body)


def test_descriptors_that_do_not_fit_are_not_lost_in_silence() -> None:
    def body() -> None:
        with meanwhile.namespaces(MANY) as made:
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (_descriptors() + 20, hard))
            with pytest.raises(OSError, match="Too many open files"):
                for _ in range(MANY):
                    next(made)

    in_a_world(body)


@pytest.mark.parametrize("made", [3, 40], ids=["alone", "by the child"])
def test_the_one_that_cannot_be_made_is_named(made: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> None:
        with kernel() as k:
            with pytest.raises(KernelRefused) as refused:
                k.apply([Op("create", Netns(f"n{n}"), None) for n in range(60)])
            assert f"n{made} netns" in str(refused.value) and "ENOSPC" in str(refused.value)
            assert list(k.fds) == [f"n{n}" for n in range(made)]

    # the child is a copy, which counts on from where its parent was
    monkeypatch.setattr(meanwhile, "namespace", _after(made, _full))
    in_a_world(body)


def test_a_namespace_that_is_there_is_not_made_again() -> None:
    def body() -> None:
        with kernel() as k:
            k.apply([Op("create", Netns("n0"), None)])
            with pytest.raises(KernelRefused, match="EEXIST"):
                k.apply([Op("create", Netns(f"n{n}"), None) for n in (1, 0)])
            assert list(k.fds) == ["n0"]

    in_a_world(body)
