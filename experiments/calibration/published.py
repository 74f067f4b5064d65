"""Ratios that others have published, as read in their text, raw data or charts."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A ratio of ``metric`` (treatment over baseline); ``who`` names it in the figure, ``at`` says
    on what it was measured and where it was read."""

    metric: str
    treatment: str
    baseline: str
    mtu: int
    ratio: float
    who: str
    at: str


_SLIM = "Weave, Linux 4.4, 40 GbE (Slim, NSDI 2019, section 2.2)"
_FALCON = "Docker's overlay, Linux 5.4, 100 GbE, sockperf (Falcon, EuroSys 2021, section 2.2)"
_HOTCLOUD = "Docker's overlay, Linux 4.4, 40 GbE, a CPU of 2.2 GHz (HotCloud 2019, section 3)"
_INFRABUILDER = "Linux 5.15, 40 GbE, iperf3 (raw data of benchmark-k8s-cni-2024-01)"
_CILIUM = (
    "routing in the host, Linux 5.10, 100 GbE, netperf (Cilium's blog, 11 May 2021, off a chart)"
)

PUBLISHED = (
    Published("throughput_bit_s", "vxlan", "host", 1500, 14.0 / 26.8, "Zhuo 2019", _SLIM),
    Published("throughput_bit_s", "vxlan", "host", 1500, 0.53, "Lei 2021", _FALCON),
    Published("throughput_bit_s", "vxlan", "host", 1500, 6.4 / 23, "Lei 2019", _HOTCLOUD),
    Published("throughput_bit_s", "host-gw", "host", 1500, 35.8 / 41.7, "Cilium 2021", _CILIUM),
    Published(
        "throughput_bit_s", "vxlan", "host", 9000, 20.0 / 31.4, "InfraBuilder 2024",
        f"flannel, {_INFRABUILDER}",
    ),
    Published(
        "throughput_bit_s", "host-gw", "host", 9000, 22.7 / 31.4, "InfraBuilder 2024",
        f"kube-router, {_INFRABUILDER}",
    ),
    Published(
        "throughput_bit_s", "vxlan", "host-gw", 9000, 20.0 / 22.7, "InfraBuilder 2024",
        f"flannel over kube-router, {_INFRABUILDER}",
    ),
    Published("tcp_rtt_p50_us", "vxlan", "host", 1500, 20.9 / 11.3, "Zhuo 2019", _SLIM),
    Published("tcp_rtt_p50_us", "host-gw", "host", 1500, 47.9 / 34.1, "Cilium 2021", _CILIUM),
    Published("crr_p50_us", "host-gw", "host", 1500, 13.0 / 9.8, "Cilium 2021", _CILIUM),
    Published("cpu_s_per_gb", "vxlan", "host", 1500, 1.93, "Zhuo 2019", _SLIM),
    Published(
        "cpu_s_per_gb", "host-gw", "host", 1500, 12.2 / 8.3, "Cilium 2021", f"the sender, {_CILIUM}"
    ),
)  # fmt: skip
