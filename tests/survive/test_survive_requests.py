"""A lab that was started by another version of the program than the one that asks."""

from __future__ import annotations

import pytest
from callers import SPEC, Caller

pytestmark = pytest.mark.kernel

LATER = """\
import os
from emulator.errors import PodwireError
from emulator.substrate import control, runtime

class Later:
    def __reduce__(self):
        return getattr, ("", "no_such_name")

for request in (("apply", Later()), (Later(), "facts")):
    try:
        control.ask(runtime.find(None), *request)
    except PodwireError as error:
        print(error)
"""


def test_a_request_that_the_lab_cannot_read(somebody: Caller) -> None:
    somebody.podwire("up", SPEC)
    said = somebody.python(LATER)
    assert said.count("expected one of this version") == 2
    assert said.count("podwire down and up again") == 2
    somebody.podwire("verify", "--no-probes")
