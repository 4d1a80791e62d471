"""The activation gate: what each rule says of real manifests, and what it lets through."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from classifier import gate, registry
from classifier.activations import AppendOnly
from classifier.gate import Outcome
from classifier.lineage import Cost, Lineage, Made, Mean, Parent
from classifier.measured import AcceptanceRule
from classifier.models import (
    Activation,
    GatePolicy,
    ModelVersion,
    PolicyChange,
    RegisteredModel,
)
from classifier.tests.bundles import make_bundle

NOBODY_ASKS: dict[str, Any] = dict.fromkeys(
    (
        "most_points_lost",
        "most_points_quantised",
        "most_ece",
        "most_milliseconds",
        "most_times_slower",
    )
) | {"asks_acceptance": False}
BEFORE = Parent("colours", "ab" * 32, "mean_colour")


def version(number: int = 1, **changes: Any) -> ModelVersion:
    """Return a version that no database knows, with these metrics of the test split."""
    test = {"accuracy": 0.9, "ece": 0.01, "images": 1000} | changes.pop("test", {})
    manifest: dict[str, Any] = {
        "dataset": {"name": "swatches", "digest": "0" * 64},
        "metrics": {"test": test, "milliseconds": {"median": 5.0}},
        "recipe": {"origin": {"processor": "A processor", "cores": 2}},
        "acceptance": None,
    }
    manifest |= changes
    return ModelVersion(number=number, manifest=manifest, model=RegisteredModel(title="Colours"))


def found(then: ModelVersion, now: ModelVersion | None = None, **rules: Any) -> tuple[Outcome, str]:
    """Return what the one rule that is asked says."""
    verdict = gate.judge(then, now, GatePolicy(**(NOBODY_ASKS | rules)))
    (finding,) = verdict.findings
    return finding.outcome, finding.sentence


# Rules


@pytest.mark.parametrize(
    ("accuracy", "outcome", "words"),
    [
        (0.95, Outcome.PASS, "5.00 points better"),
        (0.9, Outcome.PASS, "no different"),
        (0.895, Outcome.PASS, "0.50 points worse"),
        (0.894, Outcome.FAIL, "0.60 points worse; at most 0.5 are forgiven"),
    ],
)
def test_accuracy_may_fall_by_so_many_points(accuracy: float, outcome: Outcome, words: str) -> None:
    said = found(version(2, test={"accuracy": accuracy}), version(), most_points_lost=0.5)

    assert said[0] is outcome
    assert words in said[1]
    assert "the same 1,000 test images" in said[1]


def quantised(right: int | None, number: int = 1) -> ModelVersion:
    """Return an int8 version of one that had 900 of 1,000 right; None: nobody measured it."""
    lost = None if right is None else Cost(1000, 900, right, max(0, 900 - right), 0)
    return version(number, lineage=Lineage(Made.INT8, (BEFORE,), cost=lost).to_json())


@pytest.mark.parametrize(
    ("right", "outcome", "words"),
    [
        (900, Outcome.PASS, "no different"),
        (895, Outcome.PASS, "0.50 points worse."),
        (894, Outcome.FAIL, "0.60 points worse; at most 0.5 are forgiven"),
        (None, Outcome.UNKNOWN, "never measured"),
    ],
)
def test_quantising_may_cost_so_many_points(
    right: int | None, outcome: Outcome, words: str
) -> None:
    said = found(quantised(right), most_points_quantised=0.5)

    assert said[0] is outcome
    assert words in said[1]
    assert "colours, bundle abababababab" in said[1]


def test_of_few_images_nobody_can_tell_what_quantising_costs() -> None:
    few = Lineage(Made.INT8, (BEFORE,), cost=Cost(199, 180, 180, 0, 0)).to_json()
    said = found(version(lineage=few), most_points_quantised=0.5)
    assert said[0] is Outcome.UNKNOWN
    assert "One of so few is 0.503 points: too few to tell a loss of 0.5." in said[1]
    lost = Lineage(Made.INT8, (BEFORE,), cost=Cost(199, 180, 178, 2, 0)).to_json()
    assert found(version(lineage=lost), most_points_quantised=0.5)[0] is Outcome.FAIL
    assert found(version(lineage=few), most_points_quantised=1.0)[0] is Outcome.PASS


def test_only_of_quantised_versions_it_is_asked_what_that_cost() -> None:
    other = Parent("colours", "cd" * 32, "mean_colour", 0.5)
    ensemble = Lineage(Made.ENSEMBLE, (BEFORE, other), Mean.LOGITS).to_json()
    asks = GatePolicy(**(NOBODY_ASKS | {"most_points_quantised": 0.5}))

    assert gate.judge(version(), None, asks).findings == ()
    assert gate.judge(version(lineage=ensemble), None, asks).findings == ()
    assert gate.judge(quantised(0), None, GatePolicy(**NOBODY_ASKS)).findings == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": {"name": "swatches", "digest": "1" * 64}},
        {"dataset": {"name": "others", "digest": "0" * 64}},
        {"test": {"images": 999}},
    ],
    ids=["other-digest", "other-name", "other-count"],
)
def test_accuracies_on_different_images_are_not_compared(changes: dict[str, Any]) -> None:
    outcome, sentence = found(version(2, **changes), version(), most_points_lost=0.5)

    assert outcome is Outcome.UNKNOWN
    assert "cannot be compared" in sentence


def test_without_a_digest_nobody_can_tell_whether_the_images_are_the_same() -> None:
    unknown = {"name": "swatches"}
    said = found(version(2, dataset=unknown), version(dataset=unknown), most_points_lost=0.5)

    assert said[0] is Outcome.UNKNOWN


def test_an_accuracy_that_nobody_measured_is_unknown() -> None:
    outcome, sentence = found(version(2, metrics={}), version(), most_points_lost=0.5)

    assert outcome is Outcome.UNKNOWN
    assert "of this version on test images was never measured" in sentence


def test_the_first_version_is_compared_with_nothing() -> None:
    assert found(version(), most_points_lost=0.0)[0] is Outcome.PASS
    assert found(version(), most_times_slower=1.0)[0] is Outcome.PASS


def test_every_class_is_held_to_the_acceptance_rule_of_the_manifest() -> None:
    rule = AcceptanceRule(precision=0.8, recall=0.8)
    classes = {
        "red": {"precision": 0.9, "recall": 0.9},
        "blue": {"precision": 0.75, "recall": 0.9},
    }
    measured = {"per_class": classes, "ece": 0.01, "accuracy": 0.9}
    judged = rule.judge(measured).to_json()
    outcome, sentence = found(version(acceptance=judged), asks_acceptance=True)

    assert outcome is Outcome.FAIL
    assert "precision of blue: 75.0%, at least 80.0%" in sentence


def test_a_version_that_names_no_rule_is_held_to_the_ordinary_one() -> None:
    classes = {"red": {"precision": 0.9, "recall": 0.69}}
    said = found(version(test={"per_class": classes}), asks_acceptance=True)
    assert said[0] is Outcome.FAIL
    assert "recall of red: 69.0%, at least 70.0%" in said[1]

    classes["red"]["recall"] = 0.7
    said = found(version(test={"per_class": classes}), asks_acceptance=True)
    assert said[0] is Outcome.PASS


@pytest.mark.parametrize("classes", [None, {}, {"red": 0.9}, {"red": {"precision": "high"}}])
def test_classes_that_nobody_measured_are_unknown(classes: Any) -> None:
    said = found(version(test={"per_class": classes}), asks_acceptance=True)

    assert said[0] is Outcome.UNKNOWN


def test_the_calibration_error_has_a_limit() -> None:
    assert found(version(test={"ece": 0.05}), most_ece=0.05)[0] is Outcome.PASS
    outcome, sentence = found(version(test={"ece": 0.06}), most_ece=0.05)
    assert (outcome, "6.00%; at most 5.00%" in sentence) == (Outcome.FAIL, True)
    assert found(version(test={"ece": None}), most_ece=0.05)[0] is Outcome.UNKNOWN


def test_one_calibration_error_is_one_finding() -> None:
    measured = {
        "per_class": {"red": {"precision": 0.9, "recall": 0.9}}, "ece": 0.06, "accuracy": 0.9,
    }  # fmt: skip
    uncalibrated = version(test=measured, acceptance=AcceptanceRule().judge(measured).to_json())

    asked = GatePolicy(**(NOBODY_ASKS | {"asks_acceptance": True, "most_ece": 0.05}))
    blocking = gate.judge(uncalibrated, None, asked).blocking
    assert [finding.rule for finding in blocking] == ["Calibration"]

    # Where no other rule asks for it, or another forgives more, the version's own is what counts.
    assert found(uncalibrated, asks_acceptance=True)[0] is Outcome.FAIL
    asked.most_ece = 0.1
    blocking = gate.judge(uncalibrated, None, asked).blocking
    assert [finding.rule for finding in blocking] == ["Every class"]


def test_the_time_for_one_picture_has_a_limit() -> None:
    assert found(version(), most_milliseconds=5.0)[0] is Outcome.PASS
    outcome, sentence = found(version(), most_milliseconds=4.9)
    assert outcome is Outcome.FAIL
    assert "5.0 ms for one picture on A processor, 2 cores, at most 4.9" in sentence
    assert found(version(metrics={}), most_milliseconds=5.0)[0] is Outcome.UNKNOWN


def test_the_time_may_be_so_many_times_that_of_the_active_version() -> None:
    slow = {"test": {}, "milliseconds": {"median": 12.0}}
    assert found(version(2, metrics=slow), version(), most_times_slower=2.4)[0] is Outcome.PASS
    outcome, sentence = found(version(2, metrics=slow), version(), most_times_slower=2.0)
    assert outcome is Outcome.FAIL
    assert "2.4 times as long; at most 2 times" in sentence


def test_what_was_timed_in_turn_counts_before_what_was_recorded_elsewhere() -> None:
    recorded = {"test": {}, "milliseconds": {"median": 29.7}}
    active = version(recipe={"origin": {"processor": "Another"}})
    active.bundle_digest = BEFORE.digest
    core = {"own": 2.5, "of": {BEFORE.digest: 10.0}}
    made = version(2, metrics=recorded | {"core": core})

    outcome, sentence = found(made, active, most_times_slower=1.0)
    assert outcome is Outcome.PASS
    assert "2.5 ms of a core's time for one picture against 10.0 ms" in sentence
    assert "timed in turn: 0.2 times as long" in sentence
    outcome, sentence = found(active, made, most_times_slower=3.0)
    assert outcome is Outcome.FAIL
    assert "4.0 times as long; at most 3 times" in sentence
    other = version(3)
    assert "5.9 times as long" in found(made, other, most_times_slower=9.0)[1]
    assert "each as recorded when it was made" in found(made, other, most_times_slower=9.0)[1]


def test_times_of_different_machines_are_not_compared() -> None:
    elsewhere = {"origin": {"processor": "Another", "cores": 8}}
    outcome, sentence = found(version(2, recipe=elsewhere), version(), most_times_slower=2.0)

    assert outcome is Outcome.UNKNOWN
    assert "different machines (Another, 8 cores; A processor, 2 cores)" in sentence


def test_times_of_machines_that_nobody_noted_are_not_compared() -> None:
    said = found(version(2, recipe={}), version(recipe={}), most_times_slower=2.0)

    assert said[0] is Outcome.UNKNOWN
    assert "nobody noted on which machines" in said[1]


def test_what_is_unknown_blocks_only_where_the_policy_says_so() -> None:
    lax, strict = GatePolicy(), GatePolicy(unknown_blocks=True)
    unmeasured = version(metrics={})

    assert gate.judge(unmeasured, None, lax).passes
    verdict = gate.judge(unmeasured, None, strict)
    assert not verdict.passes
    assert "Calibration: The calibration error was never measured" in str(verdict)


def test_a_policy_that_asks_nothing_finds_nothing() -> None:
    assert gate.judge(version(), None, GatePolicy(**NOBODY_ASKS)).findings == ()


# Activating


Register = Callable[..., ModelVersion]


@pytest.fixture
def register(db: None, tmp_path: Path) -> Register:
    """Register a fresh bundle."""

    def make(*, activate: bool = False, **options: Any) -> ModelVersion:
        bundle = make_bundle(tmp_path / uuid4().hex, **options)
        return registry.register(bundle.root, activate=activate)

    return make


@pytest.fixture
def good(register: Register) -> ModelVersion:
    return register(activate=True, accuracy=0.95)


@pytest.fixture
def worse(good: ModelVersion, register: Register) -> ModelVersion:
    return register(seed=2, accuracy=0.9)


def active(version: ModelVersion) -> ModelVersion | None:
    return RegisteredModel.objects.get(pk=version.model_id).active_version


def person(*permissions: str) -> User:
    user = User.objects.create_user("ada", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def test_a_worse_version_is_not_activated(good: ModelVersion, worse: ModelVersion) -> None:
    with pytest.raises(registry.GateRefused) as refused:
        registry.activate(worse, by=None, reason="")

    assert refused.value.code == "gate"
    assert [each.rule for each in refused.value.verdict.blocking] == ["Accuracy"]
    assert "5.00 points worse" in str(refused.value)
    assert active(worse) == good
    assert Activation.objects.count() == 1


def test_what_the_gate_said_is_recorded(good: ModelVersion) -> None:
    activation = Activation.objects.get()

    outcomes = {each["rule"]: each["outcome"] for each in activation.gate}
    assert outcomes == {
        "Accuracy": "pass",
        "Every class": "unknown",
        "Calibration": "pass",
        "Time, compared": "pass",
        "Golden pictures": "pass",
    }
    assert not activation.overrode


def test_who_may_overrides_the_gate_with_a_reason(good: ModelVersion, worse: ModelVersion) -> None:
    ada = person("override_gate", "activate_modelversion")

    activation = registry.activate(worse, by=ada, reason="quicker", override=True)

    assert active(worse) == worse
    assert (activation.overrode, activation.by_name, activation.reason) == (True, "ada", "quicker")
    failed = [each for each in activation.gate if each["outcome"] == "fail"]
    assert [each["rule"] for each in failed] == ["Accuracy"]
    assert "5.00 points worse" in failed[0]["sentence"]


@pytest.mark.parametrize(
    ("permissions", "reason", "code"),
    [((), "quicker", "may_not_override"), (("override_gate",), "  ", "reason_missing")],
)
def test_an_override_takes_the_permission_and_a_reason(
    good: ModelVersion, worse: ModelVersion, permissions: tuple[str, ...], reason: str, code: str
) -> None:
    with pytest.raises(registry.RegistryError) as refused:
        registry.activate(worse, by=person(*permissions), reason=reason, override=True)

    assert refused.value.code == code
    assert active(worse) == good


def test_a_version_that_passes_is_not_recorded_as_overridden(
    good: ModelVersion, register: Register
) -> None:
    better = register(seed=3, accuracy=0.97)

    activation = registry.activate(better, by=None, reason="better", override=True)

    assert not activation.overrode


def test_a_rollback_is_never_blocked(good: ModelVersion, register: Register) -> None:
    better = register(seed=2, accuracy=0.99)
    registry.activate(better, by=None, reason="")
    gate.change_policy(good.model, {"most_ece": 0.001}, by=None, reason="")

    activation = registry.rollback(good.model, by=None, reason="worse on cats")

    assert (activation.version, activation.gate, activation.overrode) == (good, [], False)


def test_registering_and_activating_goes_through_the_gate(
    good: ModelVersion, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "worse", seed=2, accuracy=0.5)

    with pytest.raises(registry.GateRefused):
        registry.register(bundle.root, activate=True)

    assert ModelVersion.objects.count() == 2
    assert active(good) == good


def test_the_shipped_models_first_activation_is_never_blocked(db: None, tmp_path: Path) -> None:
    make_bundle(tmp_path / "colours" / "only", metrics={"test": {"ece": 0.5}})

    (shipped,) = registry.register_shipped(tmp_path)

    assert active(shipped) == shipped
    activation = Activation.objects.get()
    assert (activation.overrode, activation.reason) == (True, "Shipped with ClassifyMe")


# Changing the policy


def test_a_changed_policy_is_logged_from_what_to_what(good: ModelVersion) -> None:
    ada = person()
    change = gate.change_policy(good.model, {"most_points_lost": 10.0}, by=ada, reason="a trial")

    assert change is not None
    assert (change.by_name, change.reason) == ("ada", "a trial")
    assert (change.before["most_points_lost"], change.after["most_points_lost"]) == (0.5, 10.0)
    assert gate.policy_of(good.model).most_points_lost == 10.0
    assert gate.change_policy(good.model, {"most_points_lost": 10.0}, by=ada, reason="") is None


def test_a_policy_out_of_range_is_refused(good: ModelVersion) -> None:
    with pytest.raises(ValidationError):
        gate.change_policy(good.model, {"most_ece": 2.0}, by=None, reason="")

    assert gate.policy_of(good.model).most_ece == 0.05
    assert not PolicyChange.objects.exists()


@pytest.mark.parametrize("log", [Activation, PolicyChange])
def test_logs_are_only_ever_added_to(
    good: ModelVersion, log: type[Activation] | type[PolicyChange]
) -> None:
    gate.change_policy(good.model, {"most_ece": 0.1}, by=None, reason="")
    row = log.objects.get()
    row.reason = "another"

    with pytest.raises(AppendOnly):
        row.save()
    with pytest.raises(AppendOnly):
        row.delete()
    with pytest.raises(AppendOnly):
        log.objects.update(reason="another")
    with pytest.raises(AppendOnly):
        log.objects.all().delete()
    with pytest.raises(AppendOnly):
        log.objects.bulk_update([row], ["reason"])
    assert log.objects.get().reason != "another"


def test_the_log_keeps_the_name_of_a_deleted_account(
    good: ModelVersion, worse: ModelVersion
) -> None:
    ada = person("override_gate")
    registry.activate(worse, by=ada, reason="quicker", override=True)
    ada.delete()

    activation = Activation.objects.latest("id")
    assert (activation.by, activation.by_name) == (None, "ada")


# The admin


def page(name: str, *args: object) -> str:
    return reverse(f"admin:classifier_{name}", args=args)


def sign_in(*permissions: str) -> Client:
    client = Client()
    client.force_login(person(*permissions))
    return client


def post(client: Client, version: ModelVersion, serving: ModelVersion, **more: str) -> str:
    posted = {"reason": "quicker", "served": str(serving.pk)} | more
    address = page("modelversion_activate", version.pk)
    return client.post(address, posted, follow=True).content.decode()


MAY_LOOK = ("view_modelversion", "view_registeredmodel", "activate_modelversion")


def test_the_admin_shows_what_the_gate_says_and_offers_the_override_to_who_may(
    good: ModelVersion, worse: ModelVersion
) -> None:
    client = sign_in(*MAY_LOOK, "override_gate")

    shown = client.get(page("modelversion_activate", worse.pk)).content.decode()
    assert "The gate refuses this version" in shown
    assert "5.00 points worse; at most 0.5 are forgiven" in shown
    assert 'name="override"' in shown

    assert "to activate it all the same, override" in post(client, worse, good)
    assert active(worse) == good
    assert "is active; every process" in post(client, worse, good, override="on")
    assert active(worse) == worse
    assert Activation.objects.latest("id").overrode


def test_a_versions_page_says_whether_the_gate_would_let_it_pass(
    good: ModelVersion, worse: ModelVersion, register: Register
) -> None:
    client = sign_in(*MAY_LOOK)
    better = register(seed=3, accuracy=0.97)

    def shown(version: ModelVersion) -> str:
        return client.get(page("modelversion_change", version.pk)).content.decode()

    assert "refused" in shown(worse)
    assert "5.00 points worse" in shown(worse)
    assert "passes" in shown(better)
    assert "Activation gate" not in shown(good)


def test_the_admin_offers_no_override_to_who_may_not(
    good: ModelVersion, worse: ModelVersion
) -> None:
    client = sign_in(*MAY_LOOK)

    shown = client.get(page("modelversion_activate", worse.pk)).content.decode()
    assert "You may not override it" in shown
    assert 'name="override"' not in shown
    assert 'name="reason"' not in shown

    assert "You may not override it" in post(client, worse, good, override="on")
    assert active(worse) == good


def test_the_policy_is_edited_in_the_admin_with_a_reason(good: ModelVersion) -> None:
    client = sign_in("view_registeredmodel", "view_gatepolicy", "change_gate")
    address = page("registeredmodel_gate", good.model_id)
    rules = {"most_points_lost": "2", "most_points_quantised": "1.5", "most_ece": "0.1"}
    rules |= {"most_milliseconds": "20"}

    refused = client.post(address, rules | {"reason": ""}).content.decode()
    assert "This field is required" in refused
    assert not PolicyChange.objects.exists()

    said = client.post(address, rules | {"reason": "looser"}, follow=True).content.decode()
    assert "asks this from now on" in said
    policy = gate.policy_of(good.model)
    assert gate.rules_of(policy) == {
        "most_points_lost": 2.0,
        "most_points_quantised": 1.5,
        "asks_acceptance": False,
        "most_ece": 0.1,
        "most_milliseconds": 20.0,
        "most_times_slower": None,
        "unknown_blocks": False,
    }
    assert "Accuracy lost, at most: 0.5 → 2" in said
    assert "ada" in said

    logged = client.get(page("policychange_changelist"))
    assert logged.status_code == 403  # takes view_policychange


def test_who_may_look_at_the_policy_may_not_change_it(good: ModelVersion) -> None:
    client = sign_in("view_registeredmodel", "view_gatepolicy")
    address = page("registeredmodel_gate", good.model_id)

    shown = client.get(address).content.decode()
    assert "disabled" in shown
    assert "Save" not in shown
    assert client.post(address, {"reason": "x"}).status_code == 403
    assert not GatePolicy.objects.exists()


# Commands


def say(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_activate_model_says_which_rule_failed_and_how_to_override(
    good: ModelVersion, worse: ModelVersion
) -> None:
    with pytest.raises(CommandError) as refused:
        say("activate_model", "colours", "2")

    assert refused.value.returncode == 2
    lines = str(refused.value).splitlines()
    assert lines[0].endswith("does not pass the activation gate. Nothing was changed.")
    assert any(line.startswith("  fail     Accuracy: 90.00% against 95.00%") for line in lines)
    assert "--override-gate --reason WHY" in lines[-1]
    assert active(worse) == good


def test_activate_model_overrides_the_gate_when_told_why(
    good: ModelVersion, worse: ModelVersion
) -> None:
    with pytest.raises(CommandError, match="Say why"):
        say("activate_model", "colours", "2", "--override-gate")

    said = say("activate_model", "colours", "2", "--override-gate", "--reason", "quicker")

    assert "is active, over the gate." in said
    assert active(worse) == worse
