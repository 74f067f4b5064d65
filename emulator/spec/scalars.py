"""What a plain (unquoted) YAML scalar means, where all readers of YAML agree.

YAML 1.1 and 1.2 read some plain scalars differently: ``no`` is false or a text,
``010`` is 8 or 10, ``12:30:45`` is 45045 or a text. Such a scalar has no value here;
it is refused, so that a file that loads means the same to every tool.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

Scalar = str | int | float | bool | None

_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_HEX: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_AMBIGUOUS: Final = tuple(
    (re.compile(pattern), reading)
    for pattern, reading in (
        (r"[yY]|yes|Yes|YES|on|On|ON", "YAML 1.1 reads it as true"),
        (r"[nN]|no|No|NO|off|Off|OFF", "YAML 1.1 reads it as false"),
        (
            r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?",
            "YAML 1.1 reads it as a number to the base of 60",
        ),
        (r"[-+]?0[0-9][0-9_]*", "YAML 1.1 reads it as an octal number"),
        (
            r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?",
            "YAML 1.1 and 1.2 do not agree that it is a number",
        ),
        (r"[-+]?0b[01_]+", "YAML 1.1 reads it as a binary number"),
        (r"[-+]?0x[0-9a-fA-F_]+", "YAML 1.1 reads it as a hexadecimal number"),
        (r"0o[0-7]+", "YAML 1.2 reads it as an octal number"),
        (r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?", "YAML 1.1 reads it as a date"),
        (r"=", "YAML 1.1 gives it a meaning of its own"),
    )
)
_FIRST: Final = frozenset("0123456789+-.=yYnNoO")
_LONGEST_INT: Final = 40
"""Digits. Longer ones become floats: int() of Python refuses thousands of digits."""


class Ambiguous(NamedTuple):
    """A scalar that two readers of YAML read differently; ``reading`` says how."""

    reading: str


def plain_scalar(text: str) -> Scalar | Ambiguous:
    """The value of an unquoted scalar, or why it has none. Never raises."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _FIRST:
        return text
    if _INT.fullmatch(text):
        return int(text) if len(text) <= _LONGEST_INT else float(text)
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    for pattern, reading in _AMBIGUOUS:
        if pattern.fullmatch(text):
            return Ambiguous(reading)
    return text
