"""What the plan does with packets is what the oracle says of them, whatever is broken.

Both come from the same spec by different hands: routes, neighbours and cables on the one side, a
reasoning about sessions on the other.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from test_oracle import some_faults, specs
from walk import LOST, Walk

from emulator.compile import compile_spec, faulted
from emulator.family import family
from emulator.ipam import allocate
from emulator.oracle import predict
from emulator.spec.resolved import ResolvedSpec


@settings(max_examples=200)
@given(specs(plugins=("calico",)), st.data())
def test_packets_take_the_way_that_is_predicted(spec: ResolvedSpec, data: st.DataObject) -> None:
    addressing = allocate(spec)
    of = {at.family: at for at in addressing.families}
    faults = data.draw(some_faults(spec))
    walk = Walk(faulted(compile_spec(spec), spec, addressing, faults))
    own = {p.id for p in spec.pods if not p.host_network}
    for probe, expected in predict(spec, addressing, faults).items():
        at = of[family(probe.address)]
        if probe.kind not in ("pod-pod", "node-own-pod", "node-remote-pod"):
            continue
        if not {probe.client, probe.server} & own or probe.server not in own:
            continue
        home = {p.id: p.node for p in spec.pods}.get(probe.client, probe.client)
        client = probe.client if probe.client in own else home
        there = walk.ends(client, probe.address)
        if expected.outcome == "delivered":
            assert there == {(probe.server, expected.ttl)}, (str(probe), faults)
            back = walk.ends(probe.server, expected.source)
            assert {ns for ns, _ in back} == {client}, (str(probe), faults)
        else:
            speaks_as = (at.pod,) if client in own else (at.node, at.tunnel)
            sources = {known[client] for known in speaks_as if client in known}
            back = set().union(*(walk.ends(probe.server, source) for source in sources))
            assert LOST in there | back, (str(probe), expected.reason, faults)
