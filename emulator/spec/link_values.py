"""The values of links that have a grammar of their own: times and percentages.

As in :mod:`emulator.spec.values`, whose errors they raise.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from emulator.spec.medium import CERTAIN
from emulator.spec.values import wrong

_TIME: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,6}))?\s*([A-Za-z]*)")
_SHARE: Final = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,7}))?\s*(%?)")
_MICROSECONDS: Final = {"us": 1, "ms": 10**3, "s": 10**6}
LONGEST_US: Final = 10 * 10**6
"""Ten seconds: longer than all that waits for an answer here."""
LONGEST_JITTER_US: Final = 2_147_000
"""In whole milliseconds: netem cuts a jitter at 2^31 - 1 nanoseconds without a word."""


def microseconds(value: Any) -> int:
    """``"1.5ms"`` as 1500."""
    expected = "a time with its unit, such as 10ms or 250us"
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    bare = isinstance(value, int | float) and not isinstance(value, bool)
    if bare or (match is not None and not match[3]):
        raise wrong(expected, "a bare number has no unit: add us, ms or s")
    if match is None:
        raise wrong(expected)
    if match[3] not in _MICROSECONDS:
        raise wrong(expected, "the units are us, ms and s")
    whole, fraction = match[1], match[2] or ""
    scaled = int(whole + fraction) * _MICROSECONDS[match[3]]
    if scaled % 10 ** len(fraction):
        raise wrong("a whole number of microseconds")
    found = int(scaled // 10 ** len(fraction))
    if found > LONGEST_US:
        raise wrong(f"at most {time_text(LONGEST_US)}")
    return found


def _jitter(us: int) -> int:
    if us > LONGEST_JITTER_US:
        expected = f"at most {time_text(LONGEST_JITTER_US)}"
        raise wrong(expected, "the kernel has 31 bits of nanoseconds for it")
    return us


def time_text(us: int) -> str:
    """The shortest text of a time: 10,000 as ``10ms``."""
    unit, factor = next((u, f) for u, f in reversed(_MICROSECONDS.items()) if us % f == 0)
    return f"{us // factor}{unit}" if us else "0ms"


def parts_per_billion(value: Any) -> int:
    """``"0.1%"`` as 1,000,000."""
    expected = "a part in percent, such as 1% or 0.05%"
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    bare = isinstance(value, int | float) and not isinstance(value, bool)
    if bare or (match is not None and not match[3]):
        raise wrong(expected, "a bare number has no unit: add %")
    if match is None:
        raise wrong(expected, "to seven places behind the point" if _long(value) else "")
    whole, fraction = match[1], match[2] or ""
    found = int(whole + fraction.ljust(7, "0"))
    if found > CERTAIN:
        raise wrong("at most 100%")
    return found


def _long(value: Any) -> bool:
    return isinstance(value, str) and value.endswith("%") and "." in value


def share_text(ppb: int) -> str:
    """The shortest text of a part: 1,000,000 as ``0.1%``."""
    whole, rest = divmod(ppb, 10**7)
    return f"{whole}.{rest:07d}".rstrip("0").rstrip(".") + "%"


Microseconds = Annotated[
    int,
    BeforeValidator(microseconds),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*(us|ms|s)$"}),
]
Jitter = Annotated[Microseconds, AfterValidator(_jitter)]
Share = Annotated[
    int,
    BeforeValidator(parts_per_billion),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*%$"}),
]
"""In parts per billion."""
