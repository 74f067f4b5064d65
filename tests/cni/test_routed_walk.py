"""What the plans of kube-router and Romana do with packets is what the oracle says of them,
whatever is broken: through tunnels, tables of their own, and routers that ask for pods by ARP.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_oracle import some_faults, specs
from walk import LOST, Walk

from emulator.compile import compile_spec, faulted
from emulator.family import family
from emulator.ipam import allocate
from emulator.oracle import predict
from emulator.spec.resolved import ResolvedSpec


@pytest.mark.parametrize("plugin", ["kube-router", "romana"])
@settings(max_examples=100)
@given(data=st.data())
def test_packets_take_the_way_that_is_predicted(plugin: str, data: st.DataObject) -> None:
    spec: ResolvedSpec = data.draw(specs(plugins=(plugin,)))
    addressing = allocate(spec)
    of = {at.family: at for at in addressing.families}
    faults = data.draw(some_faults(spec))
    walk = Walk(faulted(compile_spec(spec), spec, addressing, faults))
    home = {p.id: p.node for p in spec.pods}
    own = {p.id for p in spec.pods if not p.host_network}
    for probe, expected in predict(spec, addressing, faults).items():
        at = of[family(probe.address)]
        if probe.kind not in ("pod-pod", "node-own-pod", "node-remote-pod", "pod-remote-node"):
            continue
        if not {probe.client, probe.server} & own:
            continue
        ends = [n if n in own else home.get(n, n) for n in (probe.client, probe.server)]
        if ends[0] == ends[1] or expected.outcome == "by-hash":
            continue
        client, server = ends
        if home.get(client) == server:
            continue
        source = at.pod[client] if client in own else at.node[client]
        there = walk.ends(client, probe.address, source=source)
        if expected.outcome == "delivered":
            assert there == {(server, expected.ttl)}, (str(probe), faults)
            answered = {client} if expected.source in (source, *at.gateway.values()) else set()
            near = answered or {home[client]}  # which has masqueraded it
            back = walk.ends(server, expected.source, source=probe.address)
            assert {ns for ns, _ in back} == near, (str(probe), faults)
        else:
            seen = {source} | ({at.node[home[client]]} if client in own else set())
            back = set().union(*(walk.ends(server, one, source=probe.address) for one in seen))
            assert LOST in there | back, (str(probe), expected.reason, faults)
