"""Plugin kubenet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from emulator.cni.options.plugin import Contradiction, NetworkOptions, Plugin


def _any_network(text: str) -> str:
    try:
        return str(IPv4Network(text))
    except ValueError as error:
        expected = "an IPv4 network such as 10.0.0.0/8, or 0.0.0.0/0"
        raise PydanticCustomError(
            "podwire",
            "expected {expected}",
            {"expected": expected, "hint": str(error), "found": ""},
        ) from None


class KubenetOptions(NetworkOptions):
    """kubenet: a bridge on each node, and routes in the fabric between the nodes."""

    plugin: Literal["kubenet"]
    hairpinMode: Literal["promiscuous-bridge", "hairpin-veth", "none"] = Field(
        default="promiscuous-bridge",
        description="how a pod reaches itself by the address of a service",
    )
    nonMasqueradeCIDR: Annotated[
        str, AfterValidator(_any_network), WithJsonSchema({"type": "string"})
    ] = Field(
        default="10.0.0.0/8",
        description="what is sent elsewhere is masqueraded; 0.0.0.0/0: nothing is",
    )

    def contradictions(self, pod_cidrs: Sequence[str]) -> Iterator[Contradiction]:
        """Pods outside of the range would be masqueraded when they talk to each other."""
        spared = IPv4Network(self.nonMasqueradeCIDR)
        for cidr in pod_cidrs:
            if ":" in cidr or IPv4Network(cidr).subnet_of(spared):
                continue
            yield Contradiction(
                "nonMasqueradeCIDR",
                f"{self.nonMasqueradeCIDR} with the podCIDR {cidr}",
                "a range that holds podCIDR",
                "kubenet would masquerade what pods send to each other, and no pod would see "
                "another one's address",
            )


PLUGIN = Plugin(KubenetOptions, by_routers=True, shapes=True)
