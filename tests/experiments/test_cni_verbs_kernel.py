"""The verbs timed on a node of a running lab, with the distribution's binaries."""

from __future__ import annotations

import json

import pytest

from emulator.cluster import Cluster
from emulator.errors import PodwireError
from emulator.spec import load
from experiments.cni_verbs import experiment, verbs

pytestmark = pytest.mark.kernel

PODS = 3


def test_each_verb_is_timed_for_each_pod_and_nothing_is_left() -> None:
    spec = load(experiment.HERE / "topology.yaml", {"spec.pods.perNode": PODS})
    names = [pod.id for pod in spec.pods]
    with Cluster(spec, "cni-verbs-test") as cluster:
        before = cluster.observed()
        for at_once in (1, 8):
            found = verbs.measure(cluster.world, "n1", names, experiment.conflist("chain"), at_once)
            assert found.failed == ()
            for calls in found.calls.values():
                assert [call.pod for call in calls] == [1, 2, 3]
                assert all(call.took_s > 0 for call in calls)
            began = [call.began_s for call in found.calls["add"]]
            ended = [call.began_s + call.took_s for call in found.calls["check"]]
            assert (began[1] >= ended[0]) == (at_once == 1), "one by one, or at the same time"
        left = set(cluster.observed().splitlines()) - set(before.splitlines())
        assert not [line for line in left if "veth" in line or any(n in line for n in names)]

        broken = json.loads(experiment.conflist("bridge"))
        ipam = {"type": "host-local", "ranges": [[{"subnet": "10.245.0.0/30"}]]}
        broken["plugins"][0] |= {"bridge": "cni1", "ipam": ipam}
        found = verbs.measure(cluster.world, "n1", names, json.dumps(broken), 1)
        assert [len(found.calls[verb]) for verb in ("add", "check", "del")] == [1, 1, 3]
        assert "no IP addresses available" in found.failed[0]

        with pytest.raises(PodwireError, match="no program nosuch"):
            verbs.measure(
                cluster.world, "n1", names,
                '{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "nosuch"}]}', 1,
            )  # fmt: skip
