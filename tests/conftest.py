"""Callers as fixtures, in directories that every user can reach."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from callers import KINDS, UNPRIVILEGED, Caller, MakeCaller


@pytest.fixture
def make_caller() -> Iterator[MakeCaller]:
    """Any number of callers; their labs are down afterwards."""
    with ExitStack() as stack:

        def make(kind: str, **more: object) -> Caller:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="podwire-test-")))
            folder.chmod(0o755)
            caller = Caller(kind, folder / "caller", **more)  # type: ignore[arg-type]
            stack.callback(caller.close)
            return caller

        yield make


@pytest.fixture(params=KINDS)
def caller(request: pytest.FixtureRequest, make_caller: MakeCaller) -> Caller:
    """Every kind of caller in turn."""
    return make_caller(request.param)


@pytest.fixture
def somebody(make_caller: MakeCaller) -> Caller:
    """The most privileged caller there is."""
    return make_caller(KINDS[0])


@pytest.fixture(params=UNPRIVILEGED)
def user(request: pytest.FixtureRequest, make_caller: MakeCaller) -> Caller:
    """Both kinds of ordinary users."""
    return make_caller(request.param)
