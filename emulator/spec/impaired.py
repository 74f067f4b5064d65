"""What is said of cables, made and checked: each place for itself, and all together."""

from __future__ import annotations

from emulator.spec import limits
from emulator.spec.cabling import CableDoc, DelayDoc, LossDoc, MediumDoc, RateDoc, ReorderDoc
from emulator.spec.findings import Findings
from emulator.spec.link_values import share_text, time_text
from emulator.spec.media import Cabled, cabled
from emulator.spec.medium import CERTAIN, REACH, Delay, Ends, Loss, Medium, Rate, Reorder
from emulator.spec.references import References
from emulator.spec.resolved import ResolvedSpec
from emulator.spec.tree import Loc, Source
from emulator.spec.values import rate_text

_DEAF = CERTAIN // 5
"""Above, so many of the messages that keep a session of BGP are lost that it comes and goes."""


def make_ends(doc: CableDoc, here: Loc, refs: References) -> Ends:
    """What is said of the cables of ``here``; findings for what cannot be."""
    egress, ingress = (
        Medium() if one is None else _medium(one, (*here, way), refs)
        for way, one in (("egress", doc.egress), ("ingress", doc.ingress))
    )
    return Ends(_medium(doc, here, refs), egress, ingress)


def _medium(doc: MediumDoc, here: Loc, refs: References) -> Medium:
    return Medium(
        _rate(doc.rate, (*here, "rate"), refs),
        _delay(doc.delay, (*here, "delay"), refs),
        _loss(doc.loss, (*here, "loss"), refs),
        doc.duplicate,
        _reorder(doc.reorder),
        doc.corrupt,
    )


def _rate(doc: RateDoc | int | None, here: Loc, refs: References) -> Rate | None:
    """A finding where the bench cannot carry it."""
    if doc is None:
        return None
    rate = Rate(doc.value, doc.by) if isinstance(doc, RateDoc) else Rate(doc, "tbf")
    limit = limits.RATE_BITS[refs.offload]
    unsure = refs.checked.unsure("spec", "underlay", "links", "offload")
    if rate.bits_per_second > limit and not unsure:
        refs.findings.add(
            refs.at(*here),
            f"{rate_text(rate.bits_per_second)} with offload {refs.offload}",
            f"at most {rate_text(limit)}, which one processor core carries for sure",
            "the limits are "
            + ", ".join(f"{rate_text(b)} ({o})" for o, b in limits.RATE_BITS.items())
            + "; without a rate a cable is as fast as the machine",
        )
    return rate


def _delay(doc: DelayDoc | int | None, here: Loc, refs: References) -> Delay | None:
    if doc is None or isinstance(doc, int):
        return None if doc is None else Delay(doc)
    jitter = doc.jitter or 0
    below = REACH[doc.distribution][0]
    if not jitter:
        if doc.distribution != "uniform" and not refs.checked.unsure(*here, "jitter"):
            found = f"distribution {doc.distribution} without jitter"
            refs.findings.add(refs.at(*here, "distribution"), found, "a jitter for it to scale")
        return Delay(doc.value)
    if jitter * below > doc.value:
        times = {"normal": "four times", "pareto": "two thirds of"}.get(doc.distribution, "")
        refs.findings.add(
            refs.at(*here, "jitter"),
            f"a jitter of {time_text(jitter)} around {time_text(doc.value)}",
            f"at most {time_text(int(doc.value / below))}",
            f"a {doc.distribution} distribution goes {times + ' ' if times else ''}the jitter "
            "below the delay, and nothing arrives before it was sent",
        )
    return Delay(doc.value, jitter, doc.distribution)


def _loss(doc: LossDoc | int | None, here: Loc, refs: References) -> Loss | None:
    if doc is None or isinstance(doc, int):
        return None if doc is None else Loss(doc)
    correlation = doc.correlation or 0
    if correlation and doc.value in (0, CERTAIN):
        words = f"a correlation with a loss of {share_text(doc.value)}"
        refs.findings.add(
            refs.at(*here, "correlation"), words, "a loss between the two to correlate"
        )
        correlation = 0
    elif correlation == CERTAIN:
        words = "a fate that never changes"
        refs.findings.add(refs.at(*here, "correlation"), words, "a correlation below 100%")
        correlation = 0
    return Loss(doc.value, correlation)


def _reorder(doc: ReorderDoc | int | None) -> Reorder | None:
    if doc is None or isinstance(doc, int):
        return None if doc is None else Reorder(doc)
    return Reorder(doc.value, doc.gap)


def check_media(spec: ResolvedSpec, source: Source, findings: Findings) -> None:
    """What contradicts itself only where the words of several places come together."""
    routers = {router.name for router in spec.routers}
    told: set[Loc] = set()  # what is said of many cables is wrong once

    def new(cable: Cabled, way: str, field: str) -> Loc | None:
        loc = _where(cable, way, field)
        if loc in told:
            return None
        told.add(loc)
        return loc

    for cable in cabled(spec):
        if cable.is_link:
            _one_way_only(cable, source, findings)
        for way, medium in (("egress", cable.egress), ("ingress", cable.ingress)):
            bare = medium.reorder and not medium.delay
            if bare and (loc := new(cable, way, "reorder")):
                findings.add(
                    source.place(*loc),
                    "reorder without a delay",
                    "a delay, which those that overtake do not wait for",
                    f"of what {cable.device}:{cable.interface} "
                    f"{'sends' if way == 'egress' else 'is sent'}: add delay: 10ms",
                )
            lost = medium.loss.ppb if medium.loss else 0
            deaf = spec.routing == "bgp" and cable.device in routers and lost > _DEAF
            if deaf and (loc := new(cable, way, "loss")):
                findings.add(
                    source.place(*loc),
                    f"a loss of {share_text(lost)} at {cable.device}, which speaks BGP",
                    f"at most {share_text(_DEAF)}",
                    "sessions would come and go by chance: say routing: static, or podwire fail "
                    "link, which the routers see",
                )


def _where(cable: Cabled, way: str, field: str) -> Loc:
    """Where the field of one way of a cable was said."""
    for said in cable.said:
        for part, loc in ((way, (*said.loc, way)), ("both", said.loc)):
            if getattr(getattr(said.ends, part), field) is not None:
                return (*loc, field)
    raise AssertionError(f"nobody said {field} of {cable.device}")


def _one_way_only(cable: Cabled, source: Source, findings: Findings) -> None:
    """A point-to-point link has an egress at each of its routers, and is one link."""
    own, segment, _ = cable.said
    for said in (own, segment):
        if said.ends.ingress != Medium():
            findings.add(
                source.place(*said.loc, "ingress", key=True),
                "an ingress on a point-to-point link",
                "the egress of its other router",
                "each router of a link shapes what it sends, and that is all there is",
            )
    if own.ends.both != Medium():
        findings.add(
            source.place(*own.loc, key=True),
            f"both ways of a point-to-point link at {cable.device} alone",
            "an egress",
            f"or say it of the segment {own.loc[-1]}, which is the link",
        )
