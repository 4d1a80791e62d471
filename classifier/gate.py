"""The activation gate: what a version must hold before it may serve, rule by rule, in sentences.

Everything a rule looks at stands in the manifests of the version and of the active one; the golden
pictures are the registry's to run. The registry asks; a rollback is never asked about.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from django.db import transaction

from classifier.lineage import Lineage, lineage_of
from classifier.measured import Acceptance, AcceptanceRule
from classifier.models import GatePolicy, ModelVersion, PolicyChange, RegisteredModel

if TYPE_CHECKING:
    from django.contrib.auth.models import User

RULES = (
    "most_points_lost",
    "most_points_quantised",
    "asks_acceptance",
    "most_ece",
    "most_milliseconds",
    "most_times_slower",
    "unknown_blocks",
)
# What a version without an acceptance rule of its own is held to: each class, as a rule does.
_ORDINARY = AcceptanceRule(ece=1.0)
_SHOWN_FAILURES = 3
# Points that one picture may be worth where that is more than the rule forgives.
_COARSE = 0.5
# Shares are sums of floats: 0.5 points lost are not more than 0.5 points.
_ROUNDING = 1e-9


class Outcome(StrEnum):
    """What came of a rule."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """What one rule says of a version; `sentence` has the numbers it was judged by."""

    rule: str
    outcome: Outcome
    sentence: str

    def to_json(self) -> dict[str, str]:
        return {
            "rule": self.rule,
            "outcome": self.outcome.value,
            "sentence": self.sentence,
        }


# What the registry adds once it has proven the version; without it nothing is activated.
PROVEN = Finding("Golden pictures", Outcome.PASS, "All came out as when the version was made.")


@dataclass(frozen=True)
class Verdict:
    """All findings on a version, in the order of the rules."""

    version: ModelVersion
    findings: tuple[Finding, ...]
    unknown_blocks: bool = False

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The findings for which the version is not let through."""
        blocks = {Outcome.FAIL, Outcome.UNKNOWN} if self.unknown_blocks else {Outcome.FAIL}
        return tuple(finding for finding in self.findings if finding.outcome in blocks)

    @property
    def passes(self) -> bool:
        return not self.blocking

    def __str__(self) -> str:
        if self.passes:
            return f"{self.version} passes the activation gate."
        why = " ".join(f"{each.rule}: {each.sentence}" for each in self.blocking)
        return f"{self.version} does not pass the activation gate. {why}"


def policy_of(model: RegisteredModel) -> GatePolicy:
    """Return the model's policy; one that is not saved, with the defaults, if nobody set any."""
    return GatePolicy.objects.filter(model=model).first() or GatePolicy(model=model)


def verdict_on(version: ModelVersion) -> Verdict:
    """Judge a version by its model's policy, against the version that is active now."""
    return judge(version, version.model.active_version, policy_of(version.model))


def judge(version: ModelVersion, active: ModelVersion | None, policy: GatePolicy) -> Verdict:
    """Return what each rule that `policy` asks says; `active` is None where nothing serves."""
    if active is not None and active.pk == version.pk:
        active = None
    return Verdict(version, tuple(_findings(version, active, policy)), policy.unknown_blocks)


def change_policy(
    model: RegisteredModel, rules: Mapping[str, Any], *, by: User | None, reason: str
) -> PolicyChange | None:
    """Set the model's rules (by the names in `RULES`) and write down who did; None if as before.

    Raises ValidationError if a value is out of its range or a name is none of `RULES`.
    """
    with transaction.atomic():
        RegisteredModel.objects.select_for_update().get(pk=model.pk)
        policy = policy_of(model)
        before = rules_of(policy)
        for name in RULES:
            setattr(policy, name, rules.get(name, before[name]))
        after = rules_of(policy)
        if after == before:
            return None
        policy.full_clean()
        policy.save()
        return PolicyChange.objects.create(
            model=model,
            by=by,
            by_name=by.get_username() if by else "",
            reason=reason,
            before=before,
            after=after,
        )


def rules_of(policy: GatePolicy) -> dict[str, Any]:
    """Return a policy's rules as JSON-ready values, by the names in `RULES`."""
    return {name: getattr(policy, name) for name in RULES}


def _findings(
    version: ModelVersion, active: ModelVersion | None, policy: GatePolicy
) -> Iterator[Finding]:
    now = active.manifest if active else None
    if policy.most_points_lost is not None:
        yield Finding("Accuracy", *_accuracy(version.manifest, now, policy.most_points_lost))
    lineage = lineage_of(version.manifest)
    if lineage and not lineage.is_ensemble and policy.most_points_quantised is not None:
        yield Finding("Quantising", *_quantising(lineage, policy.most_points_quantised))
    ece = None if policy.most_ece is None else _ece(version.manifest, policy.most_ece)
    if policy.asks_acceptance:
        # What is said of calibration below is not said here too.
        told = ece is not None and ece[0] is Outcome.FAIL
        yield Finding("Every class", *_acceptance(version.manifest, {"ece"} if told else set()))
    if ece:
        yield Finding("Calibration", *ece)
    if policy.most_milliseconds is not None:
        yield Finding("Time", *_time(version.manifest, policy.most_milliseconds))
    if policy.most_times_slower is not None:
        yield Finding("Time, compared", *_slower(version, active, policy.most_times_slower))


Found = tuple[Outcome, str]


def _accuracy(then: Mapping[str, Any], now: Mapping[str, Any] | None, most: float) -> Found:
    """At most so many points below the active version, if both saw the same test images."""
    if now is None:
        return Outcome.PASS, "Nothing else serves: there is nothing to be worse than."
    new, old = (_number(each, "metrics", "test", "accuracy") for each in (then, now))
    if new is None or old is None:
        which = "this version" if new is None else "the active version"
        return Outcome.UNKNOWN, f"The accuracy of {which} on test images was never measured."
    if not measured_alike(then, now):
        return (
            Outcome.UNKNOWN,
            f"{new:.2%}, and {old:.2%} of the active version, were measured on different test "
            f"images ({_tested(then)}; {_tested(now)}): they cannot be compared.",
        )
    points = (new - old) * 100
    images = _number(then, "metrics", "test", "images")
    same = f"the same {images:,.0f} test images" if images else "the same test images"
    sentence = f"{new:.2%} against {old:.2%} of the active version on {same}: {_change(points)}"
    if -points > most + _ROUNDING:
        return Outcome.FAIL, f"{sentence}; at most {most:g} are forgiven."
    return Outcome.PASS, f"{sentence}."


def _quantising(lineage: Lineage, most: float) -> Found:
    """At most so many points below the version that it was made of, on the same pictures."""
    (before,) = lineage.of
    where = f"{before.model}, bundle {before.digest[:12]}"
    if (cost := lineage.cost) is None:
        return Outcome.UNKNOWN, f"What {lineage.made} cost against {where} was never measured."
    sentence = (
        f"As {lineage.made} it has {cost.right_after:,} of {cost.images:,} test images right, "
        f"{cost.right_before:,} before ({where}): {_change(-cost.points)}"
    )
    if cost.points > most + _ROUNDING:
        return Outcome.FAIL, f"{sentence}; at most {most:g} are forgiven."
    if (each := 100 / cost.images) > max(most, _COARSE) + _ROUNDING:
        return (
            Outcome.UNKNOWN,
            f"{sentence}. One of so few is {each:.3g} points: too few to tell a loss of {most:g}.",
        )
    return Outcome.PASS, f"{sentence}."


def _change(points: float) -> str:
    if abs(points) < 0.005:
        return "no different"
    return f"{abs(points):.2f} points {'better' if points > 0 else 'worse'}"


def measured_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two manifests tell of the same test images: data set, its digest, how many.

    Without a digest in both nobody can tell, and they do not.
    """
    tested = [
        (
            _fact(each, "dataset", "name"),
            _fact(each, "dataset", "digest"),
            _number(each, "metrics", "test", "images"),
        )
        for each in (one, other)
    ]
    return bool(tested[0][1]) and tested[0] == tested[1]


def _tested(manifest: Mapping[str, Any]) -> str:
    name = _fact(manifest, "dataset", "name") or "data set unknown"
    images = _number(manifest, "metrics", "test", "images")
    return f"{name}, {images:,.0f} images" if images else str(name)


def _acceptance(manifest: Mapping[str, Any], besides: set[str]) -> Found:
    """Every class as the rule in the manifest says, by the ordinary rule where there is none.

    The checks in `besides` are left to other findings.
    """
    accepted = Acceptance.from_json(manifest.get("acceptance"), "acceptance")
    by = "its acceptance rule" if accepted else "the ordinary rule, as the version names none"
    accepted = accepted or _ORDINARY.judge(_of_classes(manifest))
    failures = [each for each in accepted.failures if each.check not in besides]
    if not failures:
        rule = accepted.rule
        floors = f"precision {rule.precision:.0%} and recall {rule.recall:.0%} at least"
        return Outcome.PASS, f"Every class has {floors}, by {by}."
    failed = [str(each) for each in failures if each.value is not None]
    if not failed:
        return Outcome.UNKNOWN, f"What {by} asks for was not measured."
    more = len(failed) - _SHOWN_FAILURES
    shown = "; ".join(failed[:_SHOWN_FAILURES]) + (f"; and {more} more" if more > 0 else "")
    return Outcome.FAIL, f"By {by}: {shown}."


def _of_classes(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was measured of each class, as far as a rule can read it."""
    classes = _fact(manifest, "metrics", "test", "per_class")
    if not isinstance(classes, Mapping):
        return {}
    figures = {
        label: {name: _number(values, name) for name in ("precision", "recall")}
        for label, values in classes.items()
        if isinstance(values, Mapping)
    }
    return {"per_class": figures}


def _ece(manifest: Mapping[str, Any], most: float) -> Found:
    ece = _number(manifest, "metrics", "test", "ece")
    if ece is None:
        return Outcome.UNKNOWN, "The calibration error was never measured on test images."
    if ece > most + _ROUNDING:
        return Outcome.FAIL, f"The calibration error is {ece:.2%}; at most {most:.2%} is allowed."
    return Outcome.PASS, f"The calibration error is {ece:.2%}, at most {most:.2%} is allowed."


def _time(manifest: Mapping[str, Any], most: float) -> Found:
    median = _number(manifest, "metrics", "milliseconds", "median")
    if median is None:
        return Outcome.UNKNOWN, "Nobody measured how long it takes for one picture."
    where = _machine(manifest)
    sentence = f"{median:.1f} ms for one picture{f' on {where}' if where else ''}, at most {most:g}"
    if median > most + _ROUNDING:
        return Outcome.FAIL, f"{sentence} allowed."
    return Outcome.PASS, f"{sentence}."


def _slower(version: ModelVersion, active: ModelVersion | None, most: float) -> Found:
    """At most so many times as long as the active version.

    What was timed in turn, when one was made of the other, counts first; else what each was
    recorded with, on the same kind of machine.
    """
    if active is None:
        return Outcome.PASS, "Nothing else serves: there is nothing to be slower than."
    if (both := _timed_in_turn(version, active)) is not None:
        new, old = both
        times = f"{new:.1f} ms of a core's time for one picture against {old:.1f} ms"
        return _times(f"{times} of the active version, timed in turn", new / old, most)
    return _slower_as_recorded(version.manifest, active.manifest, most)


def _times(sentence: str, times: float, most: float) -> Found:
    sentence = f"{sentence}: {times:.1f} times as long"
    if times > most + _ROUNDING:
        return Outcome.FAIL, f"{sentence}; at most {most:g} times is allowed."
    return Outcome.PASS, f"{sentence}; up to {most:g} times is allowed."


def _timed_in_turn(version: ModelVersion, active: ModelVersion) -> tuple[float, float] | None:
    """Return a core's time for one picture of both, in ms, where one was made of the other."""
    for made, before in ((version, active), (active, version)):
        own = _number(made.manifest, "metrics", "core", "own")
        other = _number(made.manifest, "metrics", "core", "of", before.bundle_digest)
        if own and other and min(own, other) > 0:
            return (own, other) if made is version else (other, own)
    return None


def _slower_as_recorded(then: Mapping[str, Any], now: Mapping[str, Any], most: float) -> Found:
    new, old = (_number(each, "metrics", "milliseconds", "median") for each in (then, now))
    if not new or not old:
        which = "this version" if not new else "the active version"
        return Outcome.UNKNOWN, f"Nobody measured how long {which} takes for one picture."
    machines = _machine(then), _machine(now)
    medians = f"{new:.1f} ms for one picture against {old:.1f} ms"
    if not any(machines):
        return (
            Outcome.UNKNOWN,
            f"{medians}; nobody noted on which machines, so they cannot be compared.",
        )
    if machines[0] != machines[1]:
        here, there = (machine or "an unknown one" for machine in machines)
        where = f"measured on different machines ({here}; {there})"
        return Outcome.UNKNOWN, f"{medians}, {where}: they cannot be compared."
    return _times(
        f"{medians} of the active version, each as recorded when it was made", new / old, most
    )


def _machine(manifest: Mapping[str, Any]) -> str:
    processor = _fact(manifest, "recipe", "origin", "processor")
    cores = _fact(manifest, "recipe", "origin", "cores")
    if not processor:
        return ""
    return f"{processor}, {cores} cores" if cores else str(processor)


def _number(manifest: Mapping[str, Any], *path: str) -> float | None:
    value = _fact(manifest, *path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _fact(manifest: Mapping[str, Any], *path: str) -> Any:
    value: Any = manifest
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
