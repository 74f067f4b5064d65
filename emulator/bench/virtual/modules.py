"""Kernel modules of an image, and the tables by which ``modprobe`` finds them. Pure.

A package brings no tables: depmod writes them when it is installed. They are made here from what
stands in the modules themselves, as text, which busybox's modprobe reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from emulator.bench.virtual.archive import Entry, file

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
_SAYS = re.compile(rb"(?:^|\0)(alias|depends|softdep)=([^\0]*)(?=\0)")


def chosen(root: str, names: Mapping[str, Entry]) -> dict[str, Entry]:
    """The modules of ``PARTS`` and ``PLAIN`` below ``root`` (``usr/lib/modules/…``) and tables."""
    found = {name: one for name, one in names.items() if _wanted(name.removeprefix(f"{root}/"))}
    return found | tables(root, found)


def _wanted(name: str) -> bool:
    path = name.removeprefix("kernel/")
    if not name.endswith(".ko"):
        return name in ("modules.builtin", "modules.order")
    parts = any(path == part or path.startswith(f"{part}/") for part in PARTS)
    return parts or path.rpartition("/")[0] == PLAIN


def tables(root: str, modules: Mapping[str, Entry]) -> dict[str, Entry]:
    """``modules.dep`` and ``modules.alias`` for these modules."""
    by_name = {_name(path): path for path in modules if path.endswith(".ko")}
    needs, aliases = {}, []
    for name, path in sorted(by_name.items()):
        said = _SAYS.findall(modules[path].content)
        needs[name] = [
            word.replace("-", "_")
            for key, value in said if key == b"depends"
            for word in value.decode().split(",") if word
        ]  # fmt: skip
        aliases += [f"alias {value.decode()} {name}\n" for key, value in said if key == b"alias"]
    lines = []
    for name, path in sorted(by_name.items()):
        wanted = [by_name[one] for one in _all(name, needs) if one in by_name]
        lines.append(" ".join([f"{_below(root, path)}:", *(_below(root, one) for one in wanted)]))
    return {
        f"{root}/modules.dep": file("".join(f"{line}\n" for line in lines).encode()),
        f"{root}/modules.alias": file("".join(aliases).encode()),
    }


def _all(name: str, needs: Mapping[str, list[str]]) -> list[str]:
    """What a module needs, each before those that need it come last: as depmod has it."""
    found: list[str] = []
    left = list(needs.get(name, ()))
    while left:
        one = left.pop(0)
        if one in found:
            found.remove(one)
        found.append(one)
        left += needs.get(one, ())
    return found


def _name(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".ko").replace("-", "_")


def _below(root: str, path: str) -> str:
    return path.removeprefix(f"{root}/")
