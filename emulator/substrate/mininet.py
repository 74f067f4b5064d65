"""A lab seen as Mininet: real ``Node``, ``Link`` and ``Mininet`` objects over what is there.

Any process inside the lab can have such a view. Nothing is created or configured by it:
the plan did that. A shell is started in a place at the first command there, and not one
for each host at the start; switches are places of their own and not bridges on the host.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

# Mininet wants one class of distutils. Where Python still has it (before 3.12) the stand-in
# of setuptools, which loads all of setuptools for it, is put aside: 0.15 s of every start.
_stand_in = sys.modules.get("_distutils_hack") if sys.version_info < (3, 12) else None
if _stand_in is not None:
    _stand_in.remove_shim()

from mininet.link import Intf, Link  # noqa: E402
from mininet.log import output, setLogLevel  # noqa: E402
from mininet.net import Mininet  # noqa: E402
from mininet.node import Node, Switch  # noqa: E402

if _stand_in is not None:
    _stand_in.add_shim()

from emulator.errors import Problem, Unsupported  # noqa: E402
from emulator.substrate.inside import enter_netns  # noqa: E402
from emulator.substrate.mininet_iperf import throughput  # noqa: E402
from emulator.substrate.sandbox import environment, private_files  # noqa: E402


class Station(NamedTuple):
    """A place of the lab for Mininet: ``role`` is pod, node, router, host or switch."""

    name: str
    ns: str
    role: str


class Cable(NamedTuple):
    """A link between two stations; ``address`` as ``10.244.1.2/24`` or empty."""

    station1: str
    interface1: str
    address1: str
    station2: str
    interface2: str
    address2: str


class _Lazy:
    """Starts its shell at the first command. Comes before Node in the order of classes."""

    shell: Any
    ns: str
    inNamespace: bool

    def startShell(self, mnopts: str | None = None) -> None:
        del mnopts  # Node starts a shell in its constructor; here that waits

    def mountPrivateDirs(self) -> None:
        """Nothing: a place's own directories come with its shell."""

    def unmountPrivateDirs(self) -> None:
        """Nothing to undo."""

    def _wake(self) -> None:
        if self.shell is None:
            inside, self.inNamespace = self.inNamespace, False
            # without -n mnexec stays in the namespaces that _popen enters
            super().startShell("-cd")  # type: ignore[misc]
            self.inNamespace = inside

    def _popen(self, cmd: list[str], **params: Any) -> Any:
        ns = self.ns
        if cmd[:2] == ["mnexec", "-da"]:  # beside the shell, by its process id, which is the host's
            cmd = ["mnexec", "-cd", *cmd[3:]]
        if cmd[:2] == ["mnexec", "-cd"]:

            def enter() -> None:
                enter_netns(ns)
                private_files(ns)

            params["preexec_fn"] = enter
            params["env"] = environment(params.get("env"))
        return super()._popen(cmd, **params)  # type: ignore[misc]

    def cmd(self, *args: Any, **kwargs: Any) -> Any:
        self._wake()  # without a shell Mininet takes the place for ended
        return super().cmd(*args, **kwargs)  # type: ignore[misc]

    def sendCmd(self, *args: Any, **kwargs: Any) -> Any:
        self._wake()
        return super().sendCmd(*args, **kwargs)  # type: ignore[misc]


class Place(_Lazy, Node):  # type: ignore[misc]
    """A pod, node, router or outside host."""

    def __init__(self, station: Station) -> None:
        self.ns = station.ns
        self.role = station.role
        Node.__init__(self, station.name, inNamespace=True)


class SwitchPlace(_Lazy, Switch):  # type: ignore[misc]
    """A segment's switch: a bridge in a namespace of its own."""

    def __init__(self, station: Station, number: int) -> None:
        self.ns = station.ns
        self.role = station.role
        Switch.__init__(self, station.name, dpid=f"{number:x}", inNamespace=True)

    def start(self, controllers: Sequence[Any]) -> None:
        """Nothing: the switch runs."""


class ThereIntf(Intf):  # type: ignore[misc]
    """An interface that exists and is configured already."""

    def config(self, **params: Any) -> dict[str, Any]:
        """Nothing to configure; Mininet asks at construction."""
        return {}

    def ifconfig(self, *args: str) -> Any:
        """Up and down by ``ip``, which every machine has; else ifconfig."""
        if args in (("up",), ("down",)):
            return self.cmd("ip", "link", "set", "dev", self.name, *args)
        return super().ifconfig(*args)

    def isUp(self, setUp: bool = False) -> bool:
        """Whether it is administratively up."""
        if setUp:
            self.ifconfig("up")
        flags = self.cmd("cat", f"/sys/class/net/{self.name}/flags").strip()
        return bool(int(flags, 16) & 1)


class ThereLink(Link):  # type: ignore[misc]
    """A cable that exists already."""

    @classmethod
    def makeIntfPair(cls, *args: Any, **kwargs: Any) -> None:
        """Nothing: the pair is there."""

    def __str__(self) -> str:
        """With the places, since every one has an eth0."""
        ends = (f"{end.node.name}-{end.name}" for end in (self.intf1, self.intf2))
        return "<->".join(ends)


class LabMininet(Mininet):  # type: ignore[misc]
    """``net.hosts`` are the pods; nodes, routers, outside hosts, switches go by name."""

    def __iter__(self) -> Iterator[str]:
        """The names of all places."""
        return iter(self.nameToNode)

    def __len__(self) -> int:
        """How many places there are."""
        return len(self.nameToNode)

    def iperf(
        self,
        hosts: Sequence[Any] | None = None,
        l4Type: str = "TCP",
        udpBw: str = "10M",
        fmt: str | None = None,
        seconds: int = 5,
        port: int = 5001,
    ) -> list[str]:
        """[server's rate, client's rate] in words; for UDP the asked rate comes first.

        By iperf3, since Mininet's own waits for ever for what iperf 2.1 does not print.
        """
        del fmt
        client, server = hosts or (self.hosts[0], self.hosts[-1])
        output(f"*** Iperf: testing {l4Type} bandwidth between {client} and {server}\n")
        wish = ["-u", "-b", udpBw] if l4Type == "UDP" else []
        rates = throughput(client, server, wish, seconds, port)
        if l4Type == "UDP":
            rates.insert(0, udpBw)
        output(f"*** Results: {rates}\n")
        return rates

    def addHost(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Unsupported: the spec says what is in the lab."""
        raise Unsupported(
            Problem(
                f"addHost({name!r})", "a change by hand", "one in the spec", "podwire apply SPEC"
            )
        )

    def stop(self) -> None:
        """End the shells of this view. The lab stays: ``podwire down`` ends it."""
        for node in self.nameToNode.values():
            node.terminate()


def view(stations: Sequence[Station], cables: Sequence[Cable]) -> Any:
    """The Mininet object of a lab. To be called by a process in the lab's namespaces."""
    # Mininet's own initialisation writes global sysctls, which no lab may do
    Mininet.inited = True
    net = LabMininet(topo=None, build=False)
    for number, station in enumerate(stations, 1):
        if station.role == "switch":
            node: Any = SwitchPlace(station, number)
            net.switches.append(node)
        else:
            node = Place(station)
            if station.role == "pod":
                net.hosts.append(node)
        net.nameToNode[station.name] = node
    for cable in cables:
        one, two = net.nameToNode[cable.station1], net.nameToNode[cable.station2]
        link = ThereLink(
            one,
            two,
            intfName1=cable.interface1,
            intfName2=cable.interface2,
            intf=ThereIntf,
        )
        for intf, address in ((link.intf1, cable.address1), (link.intf2, cable.address2)):
            if address:
                intf.ip, intf.prefixLen = address.split("/")
        net.links.append(link)
    net.built = True
    return net


def interactive(net: Any) -> None:
    """Mininet's command line on the caller's terminal."""
    from mininet.cli import CLI

    class LabCLI(CLI):  # type: ignore[misc]
        identchars = CLI.identchars + "-."  # of names such as n1-p1 and shop.web

        def do_net(self, _line: str) -> None:
            """List every place with its interfaces and what they are cabled to."""
            for place in self.mn.values():
                output(place.name)
                for intf in place.intfList():
                    far = intf.link.intf2 if intf.link.intf1 is intf else intf.link.intf1
                    output(f" {intf.name}:{far.node.name}-{far.name}")
                output("\n")

    setLogLevel("info")
    output("*** Podwire: pods are hosts; nodes, routers and switches go by their names\n")
    LabCLI(net)
    net.stop()
