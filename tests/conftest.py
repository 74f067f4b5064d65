"""Callers as fixtures, in directories that every user can reach."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
from callers import KINDS, Caller, MakeCaller

# how long an example takes is no test: a busy machine makes it longer
hypothesis.settings.register_profile(
    "podwire", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("podwire")


def pytest_configure() -> None:
    """Started in the background of a shell, a program ignores Ctrl-C, which tests send."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A runtime directory for the clusters of this module; nothing may be left in it."""
    path = tmp_path_factory.mktemp("run")
    before = os.environ.get("PODWIRE_RUN")
    os.environ["PODWIRE_RUN"] = str(path)
    yield path
    if before is None:
        del os.environ["PODWIRE_RUN"]
    else:
        os.environ["PODWIRE_RUN"] = before
    assert [entry.name for entry in (path / "podwire").iterdir()] == [".lock"]


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


@pytest.fixture(params=(KINDS[0], KINDS[-1]))
def either(request: pytest.FixtureRequest, make_caller: MakeCaller) -> Caller:
    """The most and the least privileged caller."""
    return make_caller(request.param)


@pytest.fixture
def weakest(make_caller: MakeCaller) -> Caller:
    """The least privileged caller."""
    return make_caller(KINDS[-1])


@pytest.fixture
def somebody(make_caller: MakeCaller) -> Caller:
    """The most privileged caller there is."""
    return make_caller(KINDS[0])
