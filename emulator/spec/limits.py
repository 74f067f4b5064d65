"""Everything that a spec may not exceed, and why: one table to argue about."""

from __future__ import annotations

from typing import Final

BYTES: Final = 4 << 20
"""Size of a file. 10,000 pods written out as manifests take about 2 MiB."""

DEPTH: Final = 64
"""Nesting of a document. The grammar needs 7; the limit keeps every walk shallow."""

EXPANDED_NODES: Final = 500_000
"""Scalars, lists and mappings of a file with every alias written out."""

NODES: Final = 4_000
"""Nodes of one cluster, before anything is made of them."""

PODS: Final = 100_000
"""Pods of one cluster, before anything is made of them."""

LEAVES: Final = 64
"""Leaves of a fabric: with 16 spines 1024 links, a network namespace each."""

SPINES: Final = 16
"""Spines of a fabric."""

SEGMENT_PORTS: Final = 1023
"""Cables on one segment: port numbers of a kernel bridge have ten bits, 0 is not used."""

RATE_BITS: Final = {"wire": 2_000_000_000, "full": 10_000_000_000, "off": 500_000_000}
"""The fastest shaped link by offload profile, in bit/s.

A shaper only shapes when the path behind it could go faster: above that, the result
would be the speed of the processor under the name of a link rate. The figures stay
safely below what one core carries through an emulated path of veth, bridge and tunnel:
about 2 to 4 Gbit/s when frames are cut to the MTU before the cable (``wire``), 10 to 20
Gbit/s when 64 KiB packets cross it whole (``full``), and well under 1 Gbit/s when every
device handles every packet singly (``off``). tbf and htb themselves take 64-bit rates.
"""

SLOWEST_BITS: Final = 8_000
"""The slowest shaped link, in bit/s.

The kernel keeps a burst as the time that it takes, in 32 bits of 64 ns: 275 s. The longest burst
(64 KiB and an MTU as large) takes 132 s at this rate; an ordinary packet of 64 KiB takes 66 s.
"""
