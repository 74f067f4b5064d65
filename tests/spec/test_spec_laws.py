"""Laws: what loads can be written and loads again; what does not load is a SpecError."""

from __future__ import annotations

import json
import string
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.cni.options import PLUGINS
from emulator.errors import Problem, SpecError
from emulator.spec import dump, load_text
from emulator.spec.reader import Unreadable, parse
from emulator.spec.resolved import Place, ResolvedSpec
from emulator.spec.scalars import plain_scalar
from emulator.spec.tree import plain

NOWHERE = Place("", 0, 0, "")

names = st.from_regex(r"[a-z][a-z0-9-]{0,6}[a-z0-9]", fullmatch=True)
tricky = st.sampled_from(
    ["no", "1e3", "010", "12:30:45", "~", "", "y", "=", "- a", "a: b", "#", "null", "é\u2028"]
)
texts = tricky | st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=12
)
interfaces = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=15).filter(
    lambda name: name not in (".", "..", "lo")
)


def without_places(spec: ResolvedSpec) -> ResolvedSpec:
    def strip(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(item._replace(place=NOWHERE) for item in items)

    return spec._replace(
        network=spec.network._replace(place=NOWHERE),
        segments=strip(spec.segments),
        routers=strip(spec.routers),
        hosts=strip(spec.hosts),
        nodes=strip(spec.nodes),
        pods=strip(spec.pods),
        place=NOWHERE,
    )


quantities = st.sampled_from(["1k", "1.5M", "2Gi", "1e9", "1P"]) | st.integers(1000, 10**9).map(str)
annotations = st.fixed_dictionaries(
    {},
    optional={
        "kubernetes.io/ingress-bandwidth": quantities,
        "kubernetes.io/egress-bandwidth": quantities,
    },
)


timers = st.fixed_dictionaries(
    {},
    optional={
        "holdTime": st.integers(3, 65535).map("{}s".format),
        "bfd": st.fixed_dictionaries(
            {},
            optional={
                "interval": st.sampled_from(["0.25s", "60 s"])
                | st.integers(10, 60_000).map("{}ms".format),
                "multiplier": st.integers(1, 255),
            },
        ),
    },
)


@st.composite
def networks(draw: st.DrawFn) -> dict[str, Any]:
    plugin = draw(st.sampled_from(["none", "host", "flannel", "flannel", "kubenet"]))
    if plugin == "kubenet":
        modes = st.sampled_from(["promiscuous-bridge", "hairpin-veth", "none"])
        ranges = st.sampled_from(["0.0.0.0/0", "172.16.0.0/12"])
        return {
            "plugin": plugin,
            "hairpinMode": draw(modes),
            "nonMasqueradeCIDR": draw(ranges),
        }
    if plugin != "flannel":
        return {"plugin": plugin}
    options: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {"plugin": st.just("flannel")},
            optional={
                "backend": st.just("vxlan"),
                "directRouting": st.booleans(),
                "vni": st.integers(1, 9_999_999),
                "port": st.integers(1, 65535),
                "ipMasq": st.booleans(),
                "enableNFTables": st.booleans(),
            },
        )
    )
    if draw(st.booleans()):
        options = {k: v for k, v in options.items() if k in ("plugin", "ipMasq", "enableNFTables")}
        options["backend"] = "host-gw"
    return options


rates = st.sampled_from(["8kbit", "1.5mbit", "500mbit", "12345kbit"]) | st.fixed_dictionaries(
    {"value": st.integers(8000, 5 * 10**8).map("{}bit".format)},
    optional={"by": st.sampled_from(["tbf", "htb"])},
)
shares = st.integers(0, 190_000_000).map(lambda ppb: f"{ppb // 10**7}.{ppb % 10**7:07d}%")
some = st.sampled_from(["1%", "0.05 %"])
media = st.fixed_dictionaries(
    {"delay": st.sampled_from(["10ms", "1.5 s", "250us"])},
    optional={
        "rate": rates,
        "loss": shares | st.fixed_dictionaries({"value": some, "correlation": shares}),
        "duplicate": shares,
        "reorder": shares
        | st.fixed_dictionaries({"value": shares}, optional={"gap": st.integers(1, 99)}),
        "corrupt": shares,
    },
)
wavering = st.fixed_dictionaries(
    {
        "value": st.just("10ms"),
        "jitter": st.sampled_from(["0ms", "1us", "2.5ms"]),
    },
)


@st.composite
def cables(draw: st.DrawFn) -> dict[str, Any]:
    """What may be said of cables anywhere."""
    said: dict[str, Any] = draw(media)
    if draw(st.booleans()):
        names = st.sampled_from(["uniform", "normal", "pareto"])
        said["delay"] = {**draw(wavering)}
        if said["delay"]["jitter"] != "0ms":
            said["delay"]["distribution"] = draw(names)
    for way in draw(st.sets(st.sampled_from(["egress", "ingress"]))):
        said[way] = draw(media)
    return said


@st.composite
def files(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The documents of a file without mistakes."""
    unique = draw(st.lists(names, min_size=12, max_size=12, unique=True))
    network = draw(networks())
    row = PLUGINS[network["plugin"]]
    ipv6 = network.get("backend", row.backends[0]) in row.ipv6
    known = [(4,), (6,), (4, 6), (6, 4)] if ipv6 else [(4,)]
    families = draw(st.sampled_from(known))
    segments = unique[: 1 if network.get("backend") == "host-gw" else draw(st.integers(1, 3))]
    underlay: dict[str, Any] = {
        "segments": {
            name: {
                "cidr": one_or_two(
                    draw(st.permutations([segment_cidr(draw, index, f) for f in families]))
                )
            }
            for index, name in enumerate(segments)
        },
        "routers": {unique[3]: {"segments": draw(st.permutations(segments))}},
    }
    if draw(st.booleans()):
        underlay["hosts"] = {
            unique[4]: {"segment": draw(st.sampled_from(segments)), "interface": draw(interfaces)}
        }
    if draw(st.booleans()):
        underlay["links"] = {
            "mtu": draw(st.integers(68 if families == (4,) else 1280, 65535)),
            "offload": draw(st.sampled_from(["full", "wire", "off"])),
            **draw(cables()),
        }
    if draw(st.booleans()):
        underlay["routers"][unique[3]]["links"] = {segments[0]: draw(cables())}
        underlay["segments"][segments[-1]] |= draw(cables())
    if draw(st.booleans()):
        underlay |= {"routing": "bgp", "bgp": draw(timers)}
    spec: dict[str, Any] = {"network": network, "underlay": underlay}
    if draw(st.booleans()):
        spec["nodes"] = {"count": draw(st.integers(1, 5)), "spread": segments, "prefix": "node-"}
        nodes = [f"node-{i + 1}" for i in range(spec["nodes"]["count"])]
    else:
        nodes = unique[5 : draw(st.integers(6, 8))]
        spec["nodes"] = [
            {"name": name, "segment": draw(st.sampled_from(segments)), "interface": "eth1"}
            for name in nodes
        ]
    in_host = st.just(True) if network["plugin"] == "host" else st.booleans()
    if draw(st.booleans()):
        spec["pods"] = {"perNode": draw(st.integers(0, 3))}
    else:
        spec["pods"] = [
            {
                "name": name,
                "node": draw(st.sampled_from(nodes)),
                "namespace": draw(names),
                "hostNetwork": draw(in_host),
                "command": draw(st.lists(texts, max_size=3)),
            }
            for name in unique[8 : draw(st.integers(8, 10))]
        ]
    if draw(st.booleans()):
        spec["congestionControl"] = draw(st.sampled_from(["reno", "cubic", "bbr"]))
    spec["podCIDR"] = one_or_two([{4: "172.16.0.0/16", 6: "fd00:10:244::/56"}[f] for f in families])
    if draw(st.booleans()):
        spec["nodePrefix"] = one_or_two([{4: 24, 6: 72}[f] for f in families])
    documents = [cluster(spec)]
    for name in unique[10 : draw(st.integers(10, 12))]:
        metadata = {"name": name, "labels": draw(st.sampled_from([{}, {"a/b": "1.0", "no": "y"}]))}
        host_network = draw(in_host)
        if network["plugin"] == "kubenet" and not host_network:
            metadata["annotations"] = draw(annotations)
        documents.append(
            pod(
                {
                    "nodeName": draw(st.sampled_from(nodes)),
                    "hostNetwork": host_network,
                    "restartPolicy": draw(st.sampled_from(["Always", "OnFailure", "Never"])),
                    "containers": draw(containers()),
                },
                metadata,
            )
        )
    return documents


def segment_cidr(draw: st.DrawFn, index: int, version: int) -> str:
    if version == 4:
        return f"10.{index}.0.0/{draw(st.integers(16, 24))}"
    return f"fd00:{index + 1}::/{draw(st.integers(32, 112))}"


def one_or_two(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


@st.composite
def containers(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for name in draw(st.lists(names, min_size=1, max_size=3, unique=True)):
        container: dict[str, Any] = {"name": name}
        if draw(st.booleans()):
            container["command"] = draw(st.lists(texts, min_size=1, max_size=3))
            container["args"] = draw(st.lists(texts, max_size=2))
        keys = draw(st.lists(texts.filter(lambda k: k and "=" not in k), max_size=2, unique=True))
        container["env"] = [{"name": key, "value": draw(texts)} for key in keys]
        made.append(container)
    return made


def cluster(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "podwire/v1",
        "kind": "Cluster",
        "metadata": {"name": "law"},
        "spec": {"podCIDR": "172.16.0.0/16", **spec},
    }


def pod(spec: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def text_of(documents: list[dict[str, Any]]) -> str:
    return "".join(f"---\n{json_like(document)}\n" for document in documents)


def json_like(value: Any) -> str:
    """JSON is YAML, but for the escapes of what is not printable."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json_like(k)}: {json_like(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(json_like, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" if c not in PLAIN else c for c in value) + '"'
    return json.dumps(value)


PLAIN = frozenset(string.ascii_letters + string.digits + " /.:-=#~'")


@given(files())
@settings(max_examples=150)
def test_dump_loads_to_the_same_cluster(documents: list[dict[str, Any]]) -> None:
    spec = load_text(text_of(documents))
    text = dump(spec)
    again = load_text(text)
    assert without_places(again) == without_places(spec)
    assert dump(again) == text


@given(st.text(st.sampled_from("ab:-[]{}&*!|>'\"#%@, \n\t?1_0~<=") | st.characters(), max_size=60))
@settings(max_examples=300)
def test_any_text_loads_or_is_a_spec_error(text: str) -> None:
    try:
        load_text(text)
    except SpecError as error:
        assert error.problems
        assert all(isinstance(p, Problem) and p.expected for p in error.problems)


@given(st.binary(max_size=40))
def test_any_bytes_load_or_are_a_spec_error(data: bytes) -> None:
    try:
        load_text(data)
    except SpecError as error:
        assert error.problems


wrong = st.recursive(
    st.sampled_from([0, -1, 10**30, 1.5, True, "", "x", "no such", "::1", "1.2.3.4/33", "n1"]),
    lambda children: st.lists(children, max_size=2) | st.dictionaries(names, children, max_size=2),
    max_leaves=3,
)


@given(files(), st.data())
@settings(max_examples=300)
def test_any_damage_is_a_spec_error(documents: list[dict[str, Any]], data: st.DataObject) -> None:
    """Replace, remove or add something somewhere; nothing but SpecError may come of it."""
    for _ in range(data.draw(st.integers(1, 3))):
        damage(data.draw(st.sampled_from(documents)), data)
    try:
        spec = load_text(text_of(documents))
    except SpecError as error:
        places = [p.place for p in error.problems if isinstance(p, Problem)]
        assert places
        assert all(place.startswith("<text>:") for place in places)
    else:
        assert without_places(load_text(dump(spec))) == without_places(spec)


def damage(value: Any, data: st.DataObject) -> None:
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        child = value[key]
        if isinstance(child, dict | list) and child and data.draw(st.integers(0, 4)):
            value = child
            continue
        kind = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if kind == "replace":
            value[key] = data.draw(wrong)
        elif kind == "remove":
            del value[key]
        elif isinstance(value, dict):
            value[data.draw(names)] = data.draw(wrong)
        else:
            value.append(data.draw(wrong))
        return


@given(st.text(st.sampled_from("0123456789_.:eE+-xobyno~=T "), max_size=12))
def test_a_plain_scalar_has_the_value_that_yaml_1_1_gives_it(text: str) -> None:
    """Whatever is not refused reads the same by PyYAML, which is a YAML 1.1."""
    try:
        documents = parse(f"- {text}\n")
    except Unreadable:
        return
    if any(document.troubles for document in documents):
        return
    ours = plain(documents[0].tree)
    theirs = yaml.safe_load(f"- {text}\n")
    # 1.5e3 and the like are numbers for every YAML but PyYAML.
    same = ours == theirs or (isinstance(ours[0], float) and isinstance(theirs[0], str))
    assert same, (ours, theirs)


@given(st.text(max_size=12))
def test_plain_scalar_never_raises(text: str) -> None:
    plain_scalar(text)
