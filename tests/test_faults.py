"""Names of faults: normal form, and errors that help."""

from __future__ import annotations

import pytest
from small_specs import small_spec

from emulator.errors import SpecError
from emulator.faults import Fault
from emulator.oracle.breakable import fault

SPEC = small_spec("flannel", "vxlan", host_pods=("n1",), vni=7)


@pytest.mark.parametrize(
    ("kind", "target", "normal"),
    [
        ("node", "n1", "n1"),
        ("link", "n1", "n1"),
        ("link", "n1:eth0", "n1"),
        ("link", "n1-p2", "n1-p2"),
        ("link", "out1", "out1"),
        ("link", "core1:eth1", "core1:eth1"),
        ("interface", "n2:flannel.7", "n2:flannel.7"),
        ("interface", "n2:cni0", "n2:cni0"),
        ("interface", "n1-p1:eth0", "n1-p1:eth0"),
        ("interface", "core1:eth0", "core1:eth0"),
    ],
)
def test_normal_form(kind: str, target: str, normal: str) -> None:
    assert fault(SPEC, kind, target) == Fault(kind, normal)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "target", "message"),
    [
        (
            "lnk",
            "n1",
            "fault: found 'lnk', expected link, interface, node or daemon\n"
            "    hint: did you mean 'link'?",
        ),
        (
            "node",
            "m2",
            "fault node: found 'm2', expected the name of a node\n    hint: did you mean 'n2'?",
        ),
        ("node", "n1-p1", "expected the name of a node"),
        ("link", "n1-p3", "did you mean 'n1-p2'?"),
        ("link", "core1", "found 'core1', expected core1:eth0 or core1:eth1"),
        ("link", "core1:eth2", "did you mean 'core1:eth1'?"),
        ("link", "n1:cni0", "found 'n1:cni0', expected n1"),
        ("link", "n1-host", "it lives in the network of its node n1"),
        ("interface", "n1", "found 'n1', expected n1:eth0 or n1:cni0 or n1:flannel.7"),
        ("interface", "n1:flannel.1", "did you mean 'n1:flannel.7'?"),
        ("interface", "n1:", "expected n1:eth0 or n1:cni0 or n1:flannel.7"),
        ("interface", "nowhere:eth0", "expected a node, pod, router or outside host"),
    ],
)
def test_errors(kind: str, target: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        fault(SPEC, kind, target)
    assert message in str(caught.value)


def test_a_plugin_without_tunnel_has_no_tunnel_to_fail() -> None:
    for spec in (small_spec("flannel", "host-gw"), small_spec("none"), small_spec("host")):
        with pytest.raises(SpecError, match=r"n1:eth0"):
            fault(spec, "interface", "n1:flannel.1")


def test_daemons_that_could_be_meant_are_named() -> None:
    spec = small_spec("kube-router")
    for target, message in (
        ("n1", "found 'n1', expected n1:gobgpd or n1:watcher"),
        ("n1:zebra", "found 'n1:zebra', expected n1:gobgpd or n1:watcher"),
        ("m1:gobgpd", "expected NODE:DAEMON, as n1:gobgpd\n    hint: did you mean"),
    ):
        with pytest.raises(SpecError) as caught:
            fault(spec, "daemon", target)
        assert message in str(caught.value)
