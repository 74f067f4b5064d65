"""nftables through its library: one table has as many wordings as there are versions."""

from __future__ import annotations

import pytest
from world import in_a_world, kernel

from emulator.plan import Op
from emulator.plan.resources import Netns, NftTable, Resource
from emulator.substrate.kernel import Kernel

pytestmark = pytest.mark.kernel

LISTED = """table ip filter {
\tchain FORWARD {
\t\ttype filter hook forward priority filter; policy accept;
\t\tip daddr 10.244.0.0/16 accept
\t}
}
"""
OTHER_WORDS = LISTED.replace("priority filter", "priority 0").replace("\t", "    ")
OTHER_RULE = LISTED.replace("10.244.0.0/16", "10.245.0.0/16")


def _create(machine: Kernel, *resources: Resource) -> None:
    machine.apply([Op("create", r, None) for r in resources])


@pytest.mark.parametrize(
    ("wanted", "same"), [(LISTED, True), (OTHER_WORDS, True), (OTHER_RULE, False)]
)
def test_a_table_is_what_it_does_not_how_it_is_worded(wanted: str, same: bool) -> None:
    def body() -> None:
        table = NftTable("n1", "ip", "filter", wanted)
        with kernel() as machine:
            machine.apply(
                [Op("create", r, None) for r in (Netns("n1"), table._replace(text=LISTED))]
            )
            seen = machine.observe([table])[table.key]
            assert seen == (table if same else table._replace(text=LISTED))

    in_a_world(body)


def test_a_wanted_table_that_is_refused_is_a_difference() -> None:
    def body() -> None:
        table = NftTable("n1", "ip", "filter", "table ip filter { chain c { frobnicate; }; }\n")
        with kernel() as machine:
            machine.apply(
                [Op("create", r, None) for r in (Netns("n1"), table._replace(text=LISTED))]
            )
            assert machine.observe([table])[table.key] == table._replace(text=LISTED)

    in_a_world(body)
