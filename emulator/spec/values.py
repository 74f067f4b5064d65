"""The values of a spec that have a grammar of their own: names, CIDRs, rates, times.

Each checker raises PydanticCustomError, whose context holds ``expected`` and ``hint``
(and ``found`` where the value alone does not say what is wrong).
(Over 300 lines: it is a list, one short grammar after the other.)
"""

from __future__ import annotations

import re
from fractions import Fraction
from ipaddress import (
    AddressValueError,
    IPv4Network,
    IPv6Network,
    NetmaskValueError,
    ip_network,
)
from math import ceil
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from emulator.spec.limits import SLOWEST_BITS

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_PREFIX: Final = re.compile(r"[a-z0-9][-a-z0-9]{0,56}")
_LABEL_KEY: Final = re.compile(
    r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_MODULE: Final = re.compile(r"[a-z][a-z0-9_]{0,14}")
_INTERFACE: Final = re.compile(r"[!-.0-9;-~]{1,15}")
_CLASS: Final = re.compile(r"[^:\0]+:[A-Za-z_][A-Za-z0-9_]*")
_CIDR: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}|[0-9a-f:]+/[0-9]{1,3}")
_RATE: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?\s*([A-Za-z/]*)")
_DURATION: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?\s*([A-Za-z]*)")
_QUANTITY: Final = re.compile(
    r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,3})|([numkMGTPE]|[KMGTPE]i))?"
)
_EXPONENTS: Final = dict(zip(("n", "u", "m", "", *"kMGTPE"), range(-9, 19, 3), strict=True))
_POWERS: Final = {f"{name}i": 1 << 10 * power for power, name in enumerate("KMGTPE", 1)}
_MILLISECONDS: Final = {"ms": 1, "s": 1000}
UNITS: Final = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_UNUSABLE: Final[dict[IPv4Network | IPv6Network, str]] = {
    IPv4Network("0.0.0.0/8"): "this host",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("169.254.0.0/16"): "link-local",
    IPv4Network("224.0.0.0/3"): "multicast and reserved",
    IPv6Network("::/8"): "loopback and embedded IPv4",
    IPv6Network("fe80::/10"): "link-local",
    IPv6Network("ff00::/8"): "multicast",
}
_NETWORK: Final = "a network such as 192.168.1.0/24 or fd00:192:168:1::/64"


def wrong(expected: str, hint: str = "", found: str = "") -> PydanticCustomError:
    """The error of a value; ``found`` where the value alone does not say what is wrong."""
    return PydanticCustomError(
        "podwire", "expected {expected}", {"expected": expected, "hint": hint, "found": found}
    )


def _label(text: str) -> str:
    if len(text) > 63 or not _LABEL.fullmatch(text):
        near = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")[:63].strip("-")
        raise wrong(
            "a name of 1 to 63 lower-case letters, digits and '-' that begins and ends with a "
            "letter or digit",
            f'"{near}" would do' if near else "",
        )
    return text


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise wrong("1 to 57 lower-case letters, digits and '-', the first not '-'")
    return text


def _interface(text: str) -> str:
    if not _INTERFACE.fullmatch(text) or text in (".", "..", "lo"):
        length = f" of {len(text)} characters" if len(text) > 15 else ""
        raise wrong(
            "an interface name of 1 to 15 characters without '/', ':' and spaces, and not lo",
            "the kernel keeps 16 bytes for a name, the last of them zero" if length else "",
            f'"{text[:40]}"{length}' if length else "",
        )
    return text


def _cidr(text: str) -> str:
    if not _CIDR.fullmatch(text.lower()):
        hint = "add the length of the prefix" if "/" not in text else ""
        raise wrong(_NETWORK, hint)
    network: IPv4Network | IPv6Network
    try:
        network = (IPv6Network if ":" in text else IPv4Network)(text, strict=False)
    except (AddressValueError, NetmaskValueError) as error:
        raise wrong(_NETWORK, str(error)) from None
    if str(network) != text:
        form = " in its shortest form" if network.version == 6 else ""
        raise wrong(
            f"an IPv{network.version} network{form} whose address has no bits set "
            "behind the prefix",
            f"the network is {network}",
        )
    for range_, use in _UNUSABLE.items():
        if network.version == range_.version and network.overlaps(range_):
            raise wrong(f"a unicast IPv{network.version} network", f"{range_} is for {use}")
    return text


def _ipv4(text: str) -> str:
    if ":" in text:
        raise wrong("an IPv4 network", "for IPv6 write out segments and routers")
    return text


def _dual(networks: list[str]) -> list[str]:
    if len({ip_network(one).version for one in networks}) < len(networks):
        raise wrong("one network of each family, the primary one first", "", " and ".join(networks))
    return networks


def bits_per_second(value: Any) -> int:
    """``"1.5gbit"`` as 1,500,000,000, in tc's units (powers of 1000)."""
    expected = "a rate with its unit, such as 100mbit or 1gbit"
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise wrong(expected, "a bare number has no unit: add bit, kbit, mbit or gbit")
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise wrong(expected)
    whole, fraction, unit = match[1], match[2] or "", match[3]
    if not unit:
        raise wrong(expected, "a bare number has no unit: add bit, kbit, mbit or gbit")
    factor = UNITS.get(unit.lower())
    if factor is None:
        bytes_ = "in tc's language bps is bytes per second" if unit.lower().endswith("bps") else ""
        raise wrong(expected, bytes_ or "the units are bit, kbit, mbit and gbit")
    scaled = int(whole + fraction) * factor
    if scaled % 10 ** len(fraction):
        raise wrong("a whole number of bits per second")
    bits: int = scaled // 10 ** len(fraction)
    if bits < SLOWEST_BITS:
        silent = "a cable that carries nothing has loss: 100%" if bits == 0 else ""
        slow = "one packet of 64 KiB would take more than a minute"
        raise wrong(f"at least {rate_text(SLOWEST_BITS)}", silent or slow)
    return bits


def rate_text(bits: int) -> str:
    """The shortest text of a rate: 1,500,000,000 as ``1500mbit``."""
    unit, factor = next((u, f) for u, f in reversed(UNITS.items()) if bits % f == 0)
    return f"{bits // factor}{unit}"


def milliseconds(value: Any) -> int:
    """``"1.5s"`` as 1500."""
    expected, unit = "a time with its unit, such as 100ms or 9s", "the units are ms and s"
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    bare = isinstance(value, int | float) and not isinstance(value, bool)
    if bare or (match is not None and not match[3]):
        raise wrong(expected, "a bare number has no unit: add ms or s")
    if match is None:
        raise wrong(expected)
    if match[3] not in _MILLISECONDS:
        raise wrong(expected, unit)
    whole, fraction = match[1], match[2] or ""
    scaled = int(whole + fraction) * _MILLISECONDS[match[3]]
    if scaled % 10 ** len(fraction):
        raise wrong("a whole number of milliseconds")
    return int(scaled // 10 ** len(fraction))


def duration_text(value_ms: int) -> str:
    """The shortest text of a time: 9000 as ``9s``, 100 as ``100ms``."""
    return f"{value_ms}ms" if value_ms % 1000 else f"{value_ms // 1000}s"


def _hold_time(value_ms: int) -> int:
    if value_ms % 1000 or not 3000 <= value_ms <= 65_535_000:
        quicker = "BGP knows no shorter one: bfd finds out sooner" if value_ms < 3000 else ""
        raise wrong("whole seconds from 3s to 65535s", quicker)
    return value_ms


def _interval(value_ms: int) -> int:
    if not 10 <= value_ms <= 60_000:
        raise wrong("a time from 10ms to 60s")
    return value_ms


def bandwidth(text: str) -> int:
    """``"10M"``, a quantity of Kubernetes, as 10,000,000 bits per second, rounded up."""
    match = _QUANTITY.fullmatch(text) if len(text) <= 40 else None
    if match is None or not (match[2] or match[3]):
        unit = re.search("(bit|bps|b)(/s)?$", text, re.IGNORECASE)
        raise wrong(
            "a quantity of bits per second, such as 10M or 1.5G",
            "quantities of Kubernetes have no unit: 10M is ten million" if unit else "",
        )
    sign, whole, fraction, exponent, suffix = match[1], match[2], match[3] or "", match[4], match[5]
    value = Fraction(int(whole + fraction), 10 ** len(fraction))
    if suffix in _POWERS:
        value *= _POWERS[suffix]
    else:
        value *= Fraction(10) ** int(exponent or _EXPONENTS[suffix or ""])
    if sign == "-" or not 10**3 <= ceil(value) <= 10**15:
        milli = "m means a thousandth, M a million" if suffix == "m" else ""
        raise wrong("at least 1k and at most 1P, in bits per second", milli)
    return ceil(value)


def quantity_text(value: int) -> str:
    """The shortest text of a quantity: 1,500,000 as ``1500k``."""
    suffix, exponent = next(
        (s, e) for s, e in reversed(_EXPONENTS.items()) if e >= 0 and value % 10**e == 0
    )
    return f"{value // 10**exponent}{suffix}"


def _label_key(text: str) -> str:
    if not _LABEL_KEY.fullmatch(text):
        raise wrong("a label key of Kubernetes: an optional DNS prefix with '/', then a name")
    return text


def _label_value(text: str) -> str:
    if not _LABEL_VALUE.fullmatch(text):
        raise wrong("a label value: at most 63 letters, digits, '-', '_' and '.'")
    return text


def _class(text: str) -> str:
    if not _CLASS.fullmatch(text):
        raise wrong(
            "a class as module:Class or path.py:Class",
            "for example mininet.topolib:TreeTopo",
        )
    return text


def _scalar(value: Any) -> Any:
    if not isinstance(value, bool | int | float | str):
        raise wrong("a number, a text, true or false")
    return value


def _argument(text: str) -> str:
    if "\0" in text:
        raise wrong("a text without the character NUL", "no program can receive it")
    return text


def _variable(text: str) -> str:
    if not text or "=" in text or "\0" in text:
        raise wrong("the name of an environment variable: not empty, without '='")
    return text


def _module(text: str) -> str:
    if not _MODULE.fullmatch(text):
        raise wrong("the name of a congestion control, such as reno, cubic or bbr")
    return text


def _text(pattern: re.Pattern[str], **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern.pattern}$", **more})


Name = Annotated[str, AfterValidator(_label), _text(_LABEL, maxLength=63)]
NamePrefix = Annotated[str, AfterValidator(_prefix), _text(_PREFIX)]
InterfaceName = Annotated[str, AfterValidator(_interface), _text(_INTERFACE)]
Cidr = Annotated[str, AfterValidator(_cidr), _text(_CIDR)]
Cidr4 = Annotated[Cidr, AfterValidator(_ipv4)]
Cidrs = Annotated[
    Annotated[Cidr, Tag("<scalar>")]
    | Annotated[
        list[Cidr], Field(min_length=1, max_length=2), AfterValidator(_dual), Tag("<list>")
    ],
    Discriminator(lambda value: "<list>" if isinstance(value, list) else "<scalar>"),
]
"""One network, or one of each family for dual stack."""
BitsPerSecond = Annotated[
    int,
    BeforeValidator(bits_per_second),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9.]+\s*([kKmMgG]?[bB][iI][tT])$"}),
]
_TIME = WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*(ms|s)$"})
HoldTime = Annotated[int, BeforeValidator(milliseconds), AfterValidator(_hold_time), _TIME]
"""In milliseconds, as the next."""
Interval = Annotated[int, BeforeValidator(milliseconds), AfterValidator(_interval), _TIME]
LabelKey = Annotated[str, AfterValidator(_label_key), _text(_LABEL_KEY)]
LabelValue = Annotated[str, AfterValidator(_label_value), _text(_LABEL_VALUE)]
Argument = Annotated[str, AfterValidator(_argument)]
VariableName = Annotated[
    str, AfterValidator(_variable), WithJsonSchema({"type": "string", "pattern": "^[^=]+$"})
]
CongestionControl = Annotated[str, AfterValidator(_module), _text(_MODULE)]
ClassName = Annotated[str, AfterValidator(_class), _text(_CLASS)]
Scalar = Annotated[
    Any,
    BeforeValidator(_scalar),
    WithJsonSchema({"type": ["boolean", "number", "string"]}),
]
