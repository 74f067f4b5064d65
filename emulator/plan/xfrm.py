"""What IPsec is to the kernel: policies say which packets are to be protected, states
(security associations) how; and how all three kinds look as text and as commands.

A state of ours is an :class:`XfrmState` with SPI and key. Of those that a key daemon negotiates
nobody can say SPI and key beforehand, and they change with each rekeying: all that such a daemon
has from one address to another are one :class:`XfrmSa`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from emulator.plan.drawing import in_double_quotes

if TYPE_CHECKING:
    from emulator.plan.resources import Key

Mode = Literal["transport", "tunnel"]

AEAD = "rfc4106(gcm(aes))"
"""AES-GCM with the last four bytes of the key as salt, as the kernel names it."""


class Selector(NamedTuple):
    """Which packets: prefixes, a protocol by name or number, ports; empty and zero mean any."""

    src: str
    dst: str
    proto: str = ""
    sport: int = 0
    dport: int = 0

    def __str__(self) -> str:
        text = f"src {self.src} dst {self.dst}"
        text += f" proto {self.proto}" if self.proto else ""
        text += f" sport {self.sport}" if self.sport else ""
        return text + (f" dport {self.dport}" if self.dport else "")


class Template(NamedTuple):
    """The state that a policy asks for: ESP between two addresses. ``reqid`` and ``spi``: that of
    this number; zero takes any."""

    src: str
    dst: str
    mode: Mode
    reqid: int = 0
    spi: int = 0


class XfrmPolicy(NamedTuple):
    """What matches the selector, and where ``mask`` is set carries that mark, goes by the state
    that the template asks for: for ``in`` and ``fwd`` it must have come by it."""

    ns: str
    dir: Literal["in", "out", "fwd"]
    selector: Selector
    template: Template
    priority: int = 0
    mark: int = 0
    mask: int = 0

    @property
    def kind(self) -> str:
        return "xfrm-policy"

    @property
    def key(self) -> Key:
        return (self.ns, "xfrm-policy", f"{self.dir} {self.selector}{_mark('mark', self[5:7])}")


class XfrmState(NamedTuple):
    """A state of ESP with AES-GCM that is written, not negotiated.

    ``secret``: key and salt in hex, 20, 28 or 36 bytes, as a word (``{hex 36: …}``, see
    emulator.secrets); ``icv_bit``: 64, 96 or 128;
    ``replay_window`` in packets; ``esn``: sequence numbers of 64 bits, which needs such a window.
    ``output_mark``: what packets carry after. ``selector``: None for what the policy selects.
    """

    ns: str
    src: str
    dst: str
    spi: int
    mode: Mode
    secret: str
    reqid: int = 0
    icv_bit: int = 128
    esn: bool = False
    replay_window: int = 0
    mark: int = 0
    mask: int = 0
    output_mark: int = 0
    output_mask: int = 0
    selector: Selector | None = None

    @property
    def kind(self) -> str:
        return "xfrm-state"

    @property
    def key(self) -> Key:
        mark = _mark("mark", (self.mark, self.mask))
        return (self.ns, "xfrm-state", f"dst {self.dst} spi {self.spi:#010x}{mark}")


class XfrmSa(NamedTuple):
    """That a key daemon has at least one state from ``src`` to ``dst``, whatever its SPI and key.

    ``algorithm``: the kernel's name, with bits of key and check value. ``encap``: the UDP ports,
    ``4500 4500``, or empty. ``if_present``: one that may be there no more, or not yet.
    """

    ns: str
    src: str
    dst: str
    mode: Mode
    reqid: int
    algorithm: str
    encap: str = ""
    if_present: bool = False

    @property
    def kind(self) -> str:
        return "xfrm-sa"

    @property
    def key(self) -> Key:
        return (self.ns, "xfrm-sa", f"src {self.src} dst {self.dst} reqid {self.reqid}")


def _mark(name: str, value: tuple[int, int]) -> str:
    return f" {name} {value[0]:#x}/{value[1]:#x}" if any(value) else ""


def _template(r: Template) -> str:
    spi = f" spi {r.spi:#010x}" if r.spi else ""
    return f"tmpl src {r.src} dst {r.dst} proto esp{spi} reqid {r.reqid} mode {r.mode}"


def policy_line(r: XfrmPolicy) -> str:
    """One line."""
    mark = _mark("mark", (r.mark, r.mask))
    return (
        f"{r.ns} xfrm-policy {r.dir} {r.selector}{mark} priority {r.priority}"
        f" {_template(r.template)}"
    )


def state_line(r: XfrmState) -> str:
    """One line."""
    return (
        f"{r.ns} xfrm-state src {r.src} dst {r.dst} proto esp spi {r.spi:#010x}{_reqid(r)}"
        f" aead {AEAD} {r.secret} {r.icv_bit}{_state_end(r)}"
    )


def sa_line(r: XfrmSa) -> str:
    """One line."""
    encap = f" encap espinudp {r.encap}" if r.encap else ""
    present = " (if present)" if r.if_present else ""
    return (
        f"{r.ns} xfrm-sa src {r.src} dst {r.dst} proto esp reqid {r.reqid} mode {r.mode}"
        f" {r.algorithm}{encap}{present}"
    )


def _reqid(r: XfrmState) -> str:
    window = f" replay-window {r.replay_window}" if r.replay_window else ""
    return f" reqid {r.reqid} mode {r.mode}{window}{' flag esn' if r.esn else ''}"


def _state_end(r: XfrmState) -> str:
    text = _mark("mark", (r.mark, r.mask)) + _mark("output-mark", (r.output_mark, r.output_mask))
    return text + (f" sel {r.selector}" if r.selector else "")


def policy_command(r: XfrmPolicy) -> str:
    """By iproute2."""
    mark = f" mark {r.mark:#x} mask {r.mask:#x}" if r.mark or r.mask else ""
    priority = f" priority {r.priority}" if r.priority else ""
    return (
        f"ip -n {r.ns} xfrm policy add {r.selector} dir {r.dir}{mark}{priority}"
        f" {_template(r.template)}\n"
    )


def state_command(r: XfrmState) -> str:
    """By iproute2; the key is one that the script draws."""
    end = f" mark {r.mark:#x} mask {r.mask:#x}" if r.mark or r.mask else ""
    if r.output_mark or r.output_mask:
        end += f" output-mark {r.output_mark:#x} mask {r.output_mask:#x}"
    end += f" sel {r.selector}" if r.selector else ""
    key = f'"0x{in_double_quotes(r.secret)}"'
    return (
        f"ip -n {r.ns} xfrm state add src {r.src} dst {r.dst} proto esp spi {r.spi:#010x}"
        f"{_reqid(r)} aead '{AEAD}' {key} {r.icv_bit}{end}\n"
    )
