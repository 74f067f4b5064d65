"""Which of a kernel's modules an image has. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from emulator.bench.virtual.archive import Entry

PARTS: Final = (
    *(f"net/{one}" for one in (
        "802", "8021q", "bridge", "core", "ife", "ipv4", "ipv6", "key", "llc", "mpls", "netfilter",
        "netlink", "nsh", "openvswitch", "packet", "psample", "sched", "tls", "unix", "xdp", "xfrm",
    )),
    "drivers/net/vxlan", "drivers/net/wireguard", "drivers/net/ipvlan",
    "drivers/firmware/qemu_fw_cfg.ko", "crypto", "lib", "arch/x86/crypto",
)  # fmt: skip
"""Of a kernel's modules: what a network of pods may ask for."""
PLAIN: Final = "drivers/net"
"""Of this folder the files, and not the drivers of cards below it."""


def chosen(root: str, names: Mapping[str, Entry]) -> dict[str, Entry]:
    """The modules of ``PARTS`` and ``PLAIN`` below ``root`` (``usr/lib/modules/…``)."""
    return {name: one for name, one in names.items() if _wanted(name.removeprefix(f"{root}/"))}


def _wanted(name: str) -> bool:
    path = name.removeprefix("kernel/")
    if not name.endswith(".ko"):
        return name in ("modules.builtin", "modules.order")
    parts = any(path == part or path.startswith(f"{part}/") for part in PARTS)
    return parts or path.rpartition("/")[0] == PLAIN
