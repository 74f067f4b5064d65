"""How figures look: sizes for one column of a thesis, and one fixed look for each mode.

Figures are drawn at their final size (3.33 in wide, 7 to 9 pt) and never scaled afterwards.
Fonts and mathematics come with matplotlib, so no LaTeX is needed and the same numbers give the
same bytes.  Colours are from Paul Tol's schemes (mostly "bright") plus black: distinguishable
with the common colour blindnesses; marker and hatch repeat the distinction for grey print.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure

COLUMN_IN = 3.33
PAGE_IN = 6.9
PREVIEW_DPI = 300

THESIS: dict[Any, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "axes.linewidth": 0.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": True,
    "axes.unicode_minus": True,
    "grid.linewidth": 0.3,
    "grid.color": "#dddddd",
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.4,
    "patch.linewidth": 0.5,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.minor.width": 0.3,
    "ytick.minor.width": 0.3,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.columnspacing": 1.2,
    "figure.dpi": PREVIEW_DPI,
    "savefig.dpi": PREVIEW_DPI,
    "pdf.fonttype": 42,
    "svg.hashsalt": "podwire",
    "pgf.rcfonts": False,
}


class Look(NamedTuple):
    """How one mode is drawn, in every figure; ``hatch`` may be empty."""

    label: str
    colour: str
    marker: str
    hatch: str = ""
    line: str = "-"


LOOKS: dict[str, Look] = {
    "host": Look("host network", "#BBBBBB", "s"),
    "none": Look("no pod network", "#DDDDDD", "P"),
    "host-gw": Look("host-gw", "#4477AA", "o"),
    "host-gw again": Look("host-gw again (A/A)", "#66CCEE", "D", "///", "--"),
    "vxlan": Look("VXLAN", "#EE6677", "^", "\\\\\\", "-."),
    "vxlan+directRouting": Look("VXLAN + directRouting", "#AA3377", "v", "xxx", ":"),
    "udp": Look("flannel udp", "#999933", "<", "oo", ":"),
    "calico-bgp": Look("Calico BGP", "#009988", "H", "--"),
    "calico-vxlan": Look("Calico VXLAN", "#EE7733", "d", "\\\\", "-."),
    "calico-cross-subnet": Look("Calico CrossSubnet", "#CC3311", ">", "//", ":"),
    "kube-router": Look("kube-router", "#44AA99", "P", "**", "--"),
    "kube-router-ipip": Look("kube-router IPIP", "#66AA55", "X", "\\\\", "-."),
    "kube-router-gue": Look("kube-router GUE", "#336633", "v", "xx", ":"),
    "romana": Look("Romana", "#AA4499", "<", "||", "--"),
    "canal": Look("Canal", "#117733", "p", "++"),
    "kubenet": Look("kubenet", "#DDAA33", "h", "|||"),
    "fastdp": Look("Weave fastdp", "#004488", "8", "..", "-."),
    "sleeve-encrypted": Look("Weave sleeve, encrypted", "#994455", "H", "xx", ":"),
    "sleeve": Look("Weave sleeve", "#BB5566", "*", "**", ":"),
    "overlay-vxlan": Look("overlay VXLAN", "#661100", "<", "\\\\", "-."),
    "macvlan": Look("CNI macvlan", "#77AADD", "X"),
    "host again": Look("host network again (A/A)", "#888888", "d", "///", "--"),
    "static": Look("static routes", "#4477AA", "X"),
    "kube-router-tor": Look("kube-router ToR", "#225555", "*"),
    "calico-tor": Look("Calico ToR", "#004D40", ">"),
    "bgp-fabric": Look("BGP fabric", "#AA3377", "<"),
    "bridge": Look("bridge", "#4477AA", "s"),
    "bridge again": Look("bridge again (A/A)", "#66CCEE", "d", "///", "--"),
    "ptp": Look("ptp", "#EE6677", "D"),
    "chain": Look("bridge, portmap, firewall", "#228833", "P"),
    "podwire": Look("Podwire", "#228833", "o"),
    "mininet": Look("Mininet", "#CCBB44", "s", "...", "--"),
    "replay": Look("C replay", "#000000", "^", "", ":"),
    "ip": Look("plain ip commands", "#882255", "D", "///", "--"),
    "ip again": Look("plain ip again (A/A)", "#332288", "v", "xxx", ":"),
}


def look(arm: str) -> Look:
    """The look of an arm; one that has no fixed look is dark grey under its own name."""
    return LOOKS.get(arm, Look(arm, "#555555", "X"))


@contextmanager
def thesis() -> Iterator[None]:
    """Draw and save in here: matplotlib's own settings are left as they were."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(THESIS)
        yield


def column(height_in: float, width_in: float = COLUMN_IN) -> Figure:
    """An empty figure of the given size whose parts arrange themselves without overlap."""
    return Figure(figsize=(width_in, height_in), layout="constrained")
