"""Registering, activating, rolling back: what they do, what they refuse, who wins a race."""

import json
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection

from classifier import registry, serving
from classifier.bundles import Bundle
from classifier.models import Activation, Label, ModelVersion, RegisteredModel
from classifier.registry import RegistryError
from classifier.tests.bundles import make_bundle
from classifier.tests.test_bundles import rewritten

Register = Callable[..., ModelVersion]


@pytest.fixture
def register(db: None, tmp_path: Path) -> Register:
    def make(**options: Any) -> ModelVersion:
        activate = options.pop("activate", False)
        return registry.register(
            make_bundle(tmp_path / uuid4().hex, **options).root, activate=activate
        )

    return make


@pytest.fixture
def three(register: Register) -> list[ModelVersion]:
    """Three versions of one model, activated one after the other."""
    return [register(seed=seed, activate=True) for seed in (1, 2, 3)]


@pytest.fixture
def no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if anything is proven: what is registered is not to be proven again."""

    def prove(bundle: Bundle) -> None:
        raise AssertionError(f"{bundle.root} was proven")

    monkeypatch.setattr(serving, "prove", prove)


def active(version: ModelVersion) -> ModelVersion | None:
    return RegisteredModel.objects.get(pk=version.model_id).active_version


def refusal(use_case: Callable[..., Any], *args: Any, **options: Any) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        use_case(*args, **options)
    return caught.value


# Registering


def test_a_registered_version_has_its_files_labels_and_manifest(
    register: Register, settings: Any
) -> None:
    version = register(name="colours", title="Colours", accuracy=0.9)

    assert (version.number, version.model.name, str(version)) == (1, "colours", "Colours v1")
    assert version.bundle_root == settings.BUNDLES_ROOT / version.bundle_digest
    version.open_bundle().verify()
    assert version.parsed_manifest == version.open_bundle().manifest
    assert version.test_accuracy == 0.9
    assert version.model.label_names() == {"red": "Red", "green": "Green", "blue": "Blue"}
    assert active(version) is None
    assert [path.name for path in settings.BUNDLES_ROOT.iterdir()] == [version.bundle_digest]


def test_the_first_model_is_the_default_and_the_second_is_not(register: Register) -> None:
    assert register(name="first").model.is_default
    assert not register(name="second").model.is_default


def test_the_same_bundle_twice_is_one_version_and_is_not_proven_again(
    register: Register, request: pytest.FixtureRequest
) -> None:
    version = register()
    request.getfixturevalue("no_proof")

    assert register() == version
    assert ModelVersion.objects.count() == 1


def test_a_registered_manifest_does_not_vouch_for_other_files(
    db: None, tmp_path: Path, settings: Any
) -> None:
    version = registry.register(make_bundle(tmp_path / "bundle").root)
    model = tmp_path / "bundle/model.onnx"
    model.write_bytes(model.read_bytes()[::-1])

    assert refusal(registry.register, tmp_path / "bundle").code == "file_changed"
    version.open_bundle().verify()


def test_registering_again_puts_back_files_that_went_missing(register: Register) -> None:
    version = register()
    (version.bundle_root / "model.onnx").unlink()

    assert register() == version
    version.open_bundle().verify()


def test_versions_are_numbered_within_their_model(register: Register) -> None:
    assert [register(seed=seed).number for seed in (1, 2, 3)] == [1, 2, 3]
    assert register(name="other", seed=1).number == 1


def test_labels_may_come_in_another_order_and_edited_names_stay(register: Register) -> None:
    first = register()
    Label.objects.filter(key="red").update(name="Crimson")

    second = register(labels=("blue", "red", "green"))

    assert second.number == 2
    assert first.model.label_names()["red"] == "Crimson"
    assert second.parsed_manifest.label_keys() == ("blue", "red", "green")


def test_other_labels_than_the_models_are_refused(register: Register, settings: Any) -> None:
    register()

    error = refusal(register, labels=("red", "green", "pink"))

    assert error.code == "label_mismatch"
    assert "without blue; beyond them pink" in str(error)
    version = ModelVersion.objects.get()
    assert [path.name for path in settings.BUNDLES_ROOT.iterdir()] == [version.bundle_digest]


def test_other_labels_entered_meanwhile_are_refused_as_well(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove = serving.prove

    def prove_slowly(bundle: Bundle) -> None:
        monkeypatch.setattr(serving, "prove", prove)
        register(labels=("red", "green", "pink"))
        prove(bundle)

    monkeypatch.setattr(serving, "prove", prove_slowly)

    assert refusal(register).code == "label_mismatch"
    assert set(RegisteredModel.objects.get().label_names()) == {"red", "green", "pink"}


def test_a_bundle_that_is_not_proven_leaves_nothing_behind(
    db: None, tmp_path: Path, settings: Any
) -> None:
    bundle = make_bundle(tmp_path / "good")
    (bundle.root / "model.onnx").write_bytes(b"broken")

    error = refusal(registry.register, rewritten(bundle).root)

    assert error.code == "runtime_failed"
    assert not RegisteredModel.objects.exists()
    assert not list(settings.BUNDLES_ROOT.iterdir())


@pytest.mark.parametrize("spoil", ["change", "add", "link", "remove"])
def test_a_bundle_that_is_not_whole_is_refused(db: None, tmp_path: Path, spoil: str) -> None:
    root = make_bundle(tmp_path / "bundle").root
    model = root / "model.onnx"
    if spoil == "change":
        model.write_bytes(model.read_bytes()[::-1])
    elif spoil == "add":
        (root / "evil.py").write_text("x")
    elif spoil == "link":
        model.rename(tmp_path / "elsewhere")
        model.symlink_to(tmp_path / "elsewhere")
    else:
        model.unlink()

    codes = {
        "change": "file_changed",
        "add": "file_unlisted",
        "link": "file_unsafe",
        "remove": "file_missing",
    }
    assert refusal(registry.register, root).code == codes[spoil]
    assert not ModelVersion.objects.exists()


def test_a_folder_that_is_no_bundle_is_refused(db: None, tmp_path: Path) -> None:
    assert refusal(registry.register, tmp_path).code == "not_a_bundle"


def test_a_full_disk_is_said_and_leaves_nothing(
    db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copyfile(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", copyfile)

    error = refusal(registry.register, make_bundle(tmp_path / "b").root)

    assert (error.code, "No space left" in str(error)) == ("disk", True)
    assert not list(settings.BUNDLES_ROOT.iterdir())


@pytest.mark.django_db(transaction=True)
def test_bundles_registered_at_the_same_time_get_a_number_each(tmp_path: Path) -> None:
    roots = [make_bundle(tmp_path / str(seed), seed=seed % 4).root for seed in range(8)]
    made: list[ModelVersion] = []
    gate = threading.Barrier(len(roots))

    def register(root: Path) -> None:
        gate.wait()
        try:
            made.append(registry.register(root))
        finally:
            connection.close()

    run_at_once([partial(register, root) for root in roots])

    assert len(made) == 8
    numbers = ModelVersion.objects.order_by("number").values_list("number", flat=True)
    assert list(numbers) == [1, 2, 3, 4]
    assert RegisteredModel.objects.get().labels.count() == 3


def run_at_once(calls: list[Callable[[], Any]]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# Activating


def test_activating_says_who_when_and_why(register: Register) -> None:
    first, second = register(seed=1, activate=True), register(seed=2)
    ada = User.objects.create_user("ada")

    activation = registry.activate(second, by=ada, reason="better")

    assert active(first) == second
    assert second.is_active
    assert (activation.version, activation.previous, activation.by) == (second, first, ada)
    assert (activation.by_name, activation.reason, activation.is_rollback) == (
        "ada",
        "better",
        False,
    )


def test_activating_the_active_version_changes_nothing(
    register: Register, request: pytest.FixtureRequest
) -> None:
    version = register(activate=True)
    request.getfixturevalue("no_proof")

    activation = registry.activate(version, by=None, reason="again")

    assert activation == Activation.objects.get()
    assert activation.reason == ""


def test_activating_a_version_touches_no_other_model(register: Register) -> None:
    other = register(name="other", activate=True)
    version = register(activate=True)

    registry.activate(register(seed=2), by=None, reason="")

    assert active(other) == other
    assert active(version) != version


def test_a_version_whose_kept_files_changed_is_not_activated(register: Register) -> None:
    first, second = register(seed=1, activate=True), register(seed=2)
    card = second.bundle_root / "report/model_card.md"
    card.write_text(card.read_text().upper())

    assert refusal(registry.activate, second, by=None, reason="").code == "file_changed"
    assert active(first) == first
    assert Activation.objects.count() == 1


def test_a_version_whose_manifest_was_replaced_is_not_activated(register: Register) -> None:
    first, second = register(seed=1, activate=True), register(seed=2)
    rewritten(second.open_bundle())

    assert refusal(registry.activate, second, by=None, reason="").code == "file_changed"
    assert active(first) == first


def test_a_version_whose_files_are_gone_is_not_activated(register: Register) -> None:
    first, second = register(seed=1, activate=True), register(seed=2)
    shutil.rmtree(second.bundle_root)

    assert refusal(registry.activate, second, by=None, reason="").code == "not_a_bundle"
    assert active(first) == first


def test_who_comes_second_does_not_undo_what_the_first_did(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (register(seed=seed, activate=seed == 1) for seed in (1, 2, 3))
    prove = serving.prove

    def prove_slowly(bundle: Bundle) -> None:
        monkeypatch.setattr(serving, "prove", prove)
        registry.activate(third, by=None, reason="quicker")
        prove(bundle)

    monkeypatch.setattr(serving, "prove", prove_slowly)

    assert refusal(registry.activate, second, by=None, reason="").code == "switched_meanwhile"
    assert active(first) == third
    assert Activation.objects.count() == 2


def test_a_version_archived_during_its_proof_is_not_activated(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = register(seed=1, activate=True), register(seed=2)
    monkeypatch.setattr(serving, "prove", lambda bundle: registry.archive(second))

    assert refusal(registry.activate, second, by=None, reason="").code == "archived"
    assert active(first) == first
    assert Activation.objects.count() == 1


def test_a_reason_too_long_is_refused_before_anything_is_done(register: Register) -> None:
    version = register()

    assert refusal(registry.activate, version, by=None, reason="x" * 501).code == "reason_too_long"
    assert active(version) is None


@pytest.mark.django_db(transaction=True)
def test_of_many_who_activate_at_once_each_is_recorded_or_told(register: Register) -> None:
    versions = [register(seed=seed) for seed in range(6)]
    outcomes: list[str] = []
    gate = threading.Barrier(len(versions))

    def activate(version: ModelVersion) -> None:
        gate.wait()
        try:
            registry.activate(version, by=None, reason="")
            outcomes.append("done")
        except RegistryError as error:
            outcomes.append(error.code)
        finally:
            connection.close()

    run_at_once([partial(activate, version) for version in versions])

    assert set(outcomes) <= {"done", "switched_meanwhile"}
    assert outcomes.count("done") == Activation.objects.count() >= 1
    # Each activation names as the one before exactly the one that was there before.
    history = list(Activation.objects.order_by("at"))
    assert history[0].previous is None
    previous = {activation.previous_id for activation in history}
    assert len(previous) == len(history)


# Archiving


def test_the_active_version_cannot_be_archived(register: Register) -> None:
    version = register(activate=True)

    assert refusal(registry.archive, version).code == "is_active"
    version.refresh_from_db()
    assert version.archived_at is None


def test_an_archived_version_is_activated_only_after_it_is_back(register: Register) -> None:
    register(seed=1, activate=True)
    second = register(seed=2)
    registry.archive(second)

    assert refusal(registry.activate, second, by=None, reason="").code == "archived"
    registry.unarchive(second)
    registry.activate(second, by=None, reason="")
    assert active(second) == second


# Rolling back


def back(version: ModelVersion) -> ModelVersion:
    return registry.rollback(version.model, by=None, reason="").version


def test_repeated_rollbacks_walk_back_and_then_stop(three: list[ModelVersion]) -> None:
    first, second, _ = three

    assert back(first) == second
    assert back(first) == first
    assert refusal(back, first).code == "nothing_before"
    assert active(first) == first
    assert Activation.objects.filter(is_rollback=True).count() == 2


def test_activating_after_a_rollback_goes_on_from_there(three: list[ModelVersion]) -> None:
    first, second, third = three
    assert back(first) == second
    registry.activate(third, by=None, reason="")

    assert back(first) == second
    assert back(first) == first


def test_a_rollback_after_going_to_and_fro_retraces_the_steps(three: list[ModelVersion]) -> None:
    first, second, third = three
    registry.activate(second, by=None, reason="")

    assert back(first) == third
    assert back(first) == second
    assert back(first) == first


def test_a_rollback_steps_over_archived_versions(three: list[ModelVersion]) -> None:
    first, second, _ = three
    registry.archive(second)

    assert registry.rollback_target(first.model) == first
    assert back(first) == first
    assert registry.rollback_target(first.model) is None


def test_a_rollback_to_a_version_that_is_not_proven_changes_nothing(
    three: list[ModelVersion],
) -> None:
    first, second, third = three
    (second.bundle_root / "model.onnx").write_bytes(b"broken")

    assert refusal(back, first).code == "file_changed"
    assert active(first) == third


def test_without_an_activation_there_is_nothing_to_go_back_to(register: Register) -> None:
    version = register()

    assert registry.rollback_target(version.model) is None
    assert refusal(back, version).code == "nothing_before"


# What ships


def test_shipped_bundles_are_registered_and_the_named_one_is_activated_once(
    db: None, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    make_bundle(tmp_path / "colours/fast", seed=1, architecture="fast")
    make_bundle(tmp_path / "colours/slow", seed=2, architecture="slow")
    make_bundle(tmp_path / "other/only", name="other")
    (tmp_path / "colours/active").write_text("fast\n")

    versions = registry.register_shipped(tmp_path)

    named = {version.architecture: version for version in versions}
    assert len(versions) == 3
    assert active(named["fast"]) == named["fast"]
    assert active(named["mean_colour"]) == named["mean_colour"]

    registry.activate(named["slow"], by=None, reason="")
    request.getfixturevalue("no_proof")
    assert registry.register_shipped(tmp_path) == versions
    assert active(named["fast"]) == named["slow"]
    assert Activation.objects.count() == 3


@pytest.mark.parametrize("content", [None, "medium"])
def test_shipped_bundles_without_a_clear_first_one_are_refused(
    db: None, tmp_path: Path, content: str | None
) -> None:
    make_bundle(tmp_path / "colours/fast", seed=1)
    make_bundle(tmp_path / "colours/slow", seed=2)
    if content:
        (tmp_path / "colours/active").write_text(content)

    error = refusal(registry.register_shipped, tmp_path)

    assert error.code == "shipped_unclear"
    assert "one of fast, slow" in str(error)


def test_the_folder_of_what_ships_names_models_by_their_manifests() -> None:
    for manifest in registry.SHIPPED.glob("*/*/manifest.json"):
        assert json.loads(manifest.read_text())["name"] == manifest.parent.parent.name
