"""`manage.py ensemble`: the average of versions as one graph, and what cannot be averaged."""

import dataclasses
import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from classifier import explaining, explanations, gate, heads, imaging, registry
from classifier.bundles import Bundle, Description, write
from classifier.imaging import InputSpec, Interpolation, ResizeRule
from classifier.lineage import Lineage, Made, Mean, Parent
from classifier.models import ModelVersion, Prediction
from classifier.runtimes.base import Images, Probabilities
from classifier.runtimes.onnx import OnnxRuntime
from classifier.tests import bundles as drawn
from classifier.tests.bundles import COLOURS, make_bundle, picture
from training import calibration, ensembles, merging, unseen
from training.datasets import sources
from training.datasets.dataset import Dataset, content_keys
from training.management import versions
from training.merging import Part
from training.parts import Cut, as_json
from training.tests.pictures import KEYS, colour_dataset
from training.tests.swatches import write_swatches

pytestmark = pytest.mark.django_db
Register = Callable[..., str]
SPEC = InputSpec(height=32, width=32)
GROUPS = r"(.+)\.png"
QUANTISED = Lineage(Made.INT8, (Parent("colours", "ab" * 32, "mean_colour"),))


@pytest.fixture(scope="module")
def swatches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swatches(tmp_path_factory.mktemp("data") / "swatches", 40)


@pytest.fixture(scope="module")
def dataset(swatches: Path) -> Dataset:
    return sources.load(str(swatches), root=swatches.parent, input=SPEC)


@pytest.fixture(scope="module")
def members(
    tmp_path_factory: pytest.TempPathFactory, dataset: Dataset
) -> dict[str, tuple[Bundle, float]]:
    """Two bundles with what their maps count: one is of int8, and calls colours by other names."""
    folder = tmp_path_factory.mktemp("members")
    with pytest.MonkeyPatch.context() as patch:
        one = make_bundle(folder / "one", temperature=0.5, **trained(dataset))
        patch.setattr(drawn, "PARTS", 2)
        fields: dict[str, Any] = {"lineage": QUANTISED, "tolerance": 0.02}
        two = make_bundle(folder / "two", seed=3, rotate=1, **fields, **trained(dataset))
    return {"colours:1": (one, 0.75 / 0.5), "colours:2": (two, 0.25)}


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory,
    members: dict[str, tuple[Bundle, float]],
    dataset: Dataset,
) -> Bundle:
    """The ensemble of both, of which the first counts three times as much."""
    named = {name: bundle for name, (bundle, _) in members.items()}
    order = ensembles.Order(
        members=ensembles.members_of(named, [3, 1]),
        mean=Mean.PROBABILITIES,
        input=SPEC,
        name="colours",
        title="Colours",
        command="python manage.py ensemble colours:1 colours:2 --weights 3 1",
    )
    parts = unseen.parts(manifests(named), dataset, COLOURS, SPEC)
    root = tmp_path_factory.mktemp("made") / "bundle"
    return ensembles.make(order, parts, root).bundle


def trained(dataset: Dataset) -> dict[str, Any]:
    """Return what the bundle of a version that was trained on the swatches says."""
    return {
        "recipe": {"name": "by hand", "cuts": [{"validation": 9, "smoke": False}]},
        "dataset": {"name": "swatches", "digest": dataset.digest},
        "explains": True,
    }


def manifests(named: dict[str, Bundle]) -> dict[str, dict[str, Any]]:
    return {name: bundle.manifest.to_json() for name, bundle in named.items()}


@pytest.fixture
def register(settings: Settings, tmp_path: Path, swatches: Path, dataset: Dataset) -> Register:
    """Register a version that was trained on the swatches; return how a command names it."""
    settings.DATASETS_ROOT = swatches.parent

    def make(**fields: Any) -> str:
        number = ModelVersion.objects.count() + 1
        given = trained(dataset) | {"seed": number} | fields
        bundle = make_bundle(tmp_path / f"member{number}", **given)
        version = registry.register(bundle.root)
        return f"{version.model.name}:{version.number}"

    return make


def say(command: str, *words: str) -> str:
    out = io.StringIO()
    call_command(command, *words, stdout=out, no_color=True)
    return out.getvalue()


def refused(command: str, *words: str) -> str:
    with pytest.raises(CommandError) as caught:
        say(command, *words)
    assert caught.value.returncode == 2
    return str(caught.value)


def answers(bundle: Bundle, images: Images) -> Probabilities:
    with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
        return runtime.predict(images)


def pixels(count: int = 12) -> Images:
    return np.random.default_rng(5).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize("mean", list(Mean))
def test_at_a_temperature_of_1_it_is_the_average_itself(tmp_path: Path, mean: Mean) -> None:
    weights = (0.5, 0.3, 0.2)
    parts, images = [], pixels()
    given = []
    for number, weight in enumerate(weights):
        bundle = make_bundle(tmp_path / str(number), seed=number, rotate=number % 2)
        parts.append(Part(onnx.load(bundle.file("serve")), weight))
        given.append(answers(bundle, images).astype(np.float64))
    onnx.save(merging.merged(parts, 3, mean, 1.0), tmp_path / "merged.onnx")
    with OnnxRuntime(tmp_path / "merged.onnx", threads=1) as runtime:
        received = runtime.predict(images)

    if mean is Mean.PROBABILITIES:
        expected = sum(weight * each for weight, each in zip(weights, given, strict=True))
    else:
        powers = np.prod([each**weight for weight, each in zip(weights, given, strict=True)], 0)
        expected = powers / powers.sum(axis=1, keepdims=True)
    assert np.abs(received - expected).max() < 1e-6


def test_it_answers_with_the_average_of_its_members_through_one_graph(
    made: Bundle, members: dict[str, tuple[Bundle, float]]
) -> None:
    made.verify()
    graph = onnx.load(made.file("serve")).graph
    assert [each.name for each in graph.input] == ["image"]
    assert [each.name for each in graph.output] == ["probabilities", "features", "state"]
    images = pixels()
    one, two = (answers(bundle, images) for bundle, _ in members.values())
    logits = np.log(0.75 * one + 0.25 * two)
    expected = calibration.softmax(logits, made.manifest.temperature)
    assert np.abs(answers(made, images) - expected).max() < 1e-5


def test_levels_temperature_and_figures_are_its_own(made: Bundle, dataset: Dataset) -> None:
    manifest = made.manifest
    parts = unseen.parts({"it": manifest.to_json()}, dataset, COLOURS, SPEC)
    validated, labels = answers(made, parts.validation.images[:]), parts.validation.labels
    levels = calibration.confidence_thresholds(validated, labels, COLOURS)
    assert {key: each.high for key, each in manifest.confidence.items()} == pytest.approx(
        {key: each.high for key, each in levels.items()}
    )
    tested = manifest.metrics["test"]
    assert tested["images"] == len(dataset.test)
    right = answers(made, parts.test.images[:]).argmax(axis=1) == parts.test.labels
    assert tested["accuracy"] == pytest.approx(right.mean())
    assert manifest.temperature != 1
    assert set(manifest.levels) == {"high", "medium", "low"}
    assert manifest.acceptance is not None
    assert manifest.metrics["milliseconds"]["median"] > 0


def test_manifest_and_model_card_say_what_it_is_made_of(
    made: Bundle, members: dict[str, tuple[Bundle, float]]
) -> None:
    lineage = made.manifest.lineage
    assert lineage is not None
    assert (lineage.made, lineage.mean) == (Made.ENSEMBLE, Mean.PROBABILITIES)
    assert [each.digest for each in lineage.of] == [each.digest for each, _ in members.values()]
    assert [each.weight for each in lineage.of] == [0.75, 0.25]
    card = (made.root / "report" / "model_card.md").read_text()
    assert "the average of the probabilities of 2 versions: colours:1 (mean_colour)" in card
    assert "explained by the members' Grad-CAM" in card
    assert not made.files("source")


def test_it_is_explained_by_the_members_maps_summed_by_weight(
    made: Bundle, members: dict[str, tuple[Bundle, float]]
) -> None:
    head = heads.read(made.file("explain"), classes=3)
    assert head.features == (6, 4, 4)
    image, _ = imaging.load(picture("green"), SPEC)
    with OnnxRuntime(made.file("serve"), threads=1) as runtime:
        features, state = runtime.explain(image[None])
    received = explaining.raw_map(features[0], state[0], head, 1)
    expected = np.zeros((4, 4))
    for member, weight in members.values():
        of_member = heads.read(member.file("explain"), classes=3)
        with OnnxRuntime(member.file("serve"), threads=1) as runtime:
            planes, vector = runtime.explain(image[None])
        own = np.tensordot(of_member.gradient(vector[0], 1), planes[0], axes=1)
        if len(own) == 2:
            enlarging = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
            own = enlarging @ own @ enlarging.T
        expected += weight * own
    assert received == pytest.approx(np.maximum(expected, 0), abs=1e-6)


def test_where_members_held_out_different_pictures_only_what_all_did_calibrates() -> None:
    dataset = colour_dataset(train=96, test=30)
    said = {"dataset": {"digest": dataset.digest}}
    small, large = ({"recipe": {"cuts": [{"validation": count}]}} | said for count in (9, 15))

    alone = unseen.parts({"a": small}, dataset, KEYS, SPEC)
    both = unseen.parts({"a": large, "b": small}, dataset, KEYS, SPEC)
    assert (len(alone.validation), len(both.train)) == (9, 81)
    assert both.cuts == (Cut(15), Cut(9))
    assert sorted(content_keys(both.validation.images)) == sorted(
        content_keys(alone.validation.images)
    )
    assert not both.notes
    again = {"recipe": {"cuts": as_json(both.cuts)}} | said
    assert len(unseen.parts({"ensemble": again}, dataset, KEYS, SPEC).validation) == 9


def test_of_a_version_that_learnt_elsewhere_it_is_said_that_figures_may_flatter() -> None:
    dataset = colour_dataset()
    cuts: dict[str, Any] = {"recipe": {"cuts": [{"validation": 9}]}}
    known: dict[str, dict[str, Any]] = {
        "here": cuts | {"dataset": {"digest": dataset.digest}},
        "elsewhere": cuts | {"dataset": {"digest": "1" * 64}},
        "silent": {"recipe": {}, "dataset": {}},
    }
    elsewhere, silent = unseen.parts(known, dataset, KEYS, SPEC).notes

    assert elsewhere.startswith("elsewhere was trained on another data set")
    assert silent.startswith("silent does not say what it was trained on")


def test_the_command_registers_it_and_lets_it_serve_past_the_gate(register: Register) -> None:
    one, two = register(), register(explains=False)
    said = say("ensemble", one, two, "--activate", "--group-by", GROUPS)

    assert "Colours v3 is registered and active" in said
    assert "average of logits" in said
    assert "colours:1 alone:           validation loss " in said
    assert "colours:2 alone:" in said
    assert "Its answers cannot be explained" in said
    version = ModelVersion.objects.get(number=3)
    command = "python manage.py ensemble colours:1 colours:2 --mean probabilities --group-by "
    assert version.manifest["recipe"]["command"] == f"{command}{shlex.quote(GROUPS)}"
    assert version.manifest["recipe"]["origin"]["group_by"] == GROUPS
    with pytest.raises(explanations.Unexplained, match="versions of which one has nothing"):
        explanations.check(Prediction(version=version), "red")

    gate.change_policy(version.model, {"most_milliseconds": 0.001}, by=None, reason="")
    said = refused("ensemble", one, two, "--weights", "2", "1", "--activate")
    assert "It is registered, and not active" in said
    assert ModelVersion.objects.count() == 4
    assert version.is_active


def test_what_is_no_better_than_a_member_alone_is_told_so() -> None:
    def worth(**alone: float) -> ensembles.Averages:
        by_mean = {Mean.PROBABILITIES: 0.94, Mean.LOGITS: 0.95}
        return ensembles.Averages(
            temperature=by_mean,
            loss=by_mean,
            accuracy=by_mean,
            alone=tuple(ensembles.Alone(name, 0.2, value) for name, value in alone.items()),
        )

    best = worth(one=0.9, two=0.94).as_good_alone(Mean.PROBABILITIES)
    assert best is not None
    assert best.name == "two"
    assert worth(one=0.9, two=0.94).as_good_alone(Mean.LOGITS) is None


def test_members_are_measured_alone_on_what_the_average_is_calibrated_on(
    members: dict[str, tuple[Bundle, float]], dataset: Dataset, tmp_path: Path
) -> None:
    named = {name: bundle for name, (bundle, _) in members.items()}
    order = ensembles.Order(ensembles.members_of(named), Mean.LOGITS, SPEC, "colours", "C", "x")
    parts = unseen.parts(manifests(named), dataset, COLOURS, SPEC)
    told: list[ensembles.Averages] = []
    made = ensembles.make(order, parts, tmp_path / "made", told.append).bundle

    one = answers(named["colours:1"], parts.validation.images[:])
    assert told[0].alone[0].name == "colours:1"
    assert told[0].alone[0].accuracy == (one.argmax(axis=1) == parts.validation.labels).mean()
    core = made.manifest.metrics["core"]
    assert core["own"] > 0
    assert list(core["of"]) == [bundle.digest for bundle in named.values()]


def test_stopped_it_says_so_and_registers_nothing(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(merging, "merged", stop)
    with pytest.raises(CommandError) as caught:
        say("ensemble", register(), register())

    assert caught.value.returncode == 130
    assert str(caught.value) == "Stopped. Nothing was written or registered."
    assert ModelVersion.objects.count() == 2


def test_an_ensemble_is_parted_and_forgiven_as_its_members_are(
    made: Bundle, tmp_path: Path
) -> None:
    assert made.manifest.tolerance == 0.02
    recipe = {"name": "by hand", "origin": {"group_by": GROUPS}}
    one = make_bundle(tmp_path / "one", recipe=recipe, dataset={"name": "pets"})
    assert versions.trained_on(one, "", "") == ("pets", GROUPS)
    assert versions.trained_on(one, "", "(.)") == ("pets", "(.)")
    assert versions.trained_on(one, "/there/pets.zip", "") == ("/there/pets.zip", GROUPS)
    assert versions.trained_on(one, "/there/cats", "") == ("/there/cats", "")


def test_evaluate_and_compare_take_it_and_reproduce_names_what_makes_it(
    register: Register, made: Bundle, dataset: Dataset
) -> None:
    register()
    registry.register(made.root)

    measured = json.loads(say("evaluate", "colours:2", "--json"))
    assert measured["images"] == len(dataset.test)
    told = say("compare", "colours:1", "colours:2", "--dataset", "swatches")
    assert "McNemar" in told
    assert "manage.py ensemble colours:1 colours:2" in refused("reproduce", "colours:2")
    assert "name its members instead" in refused("ensemble", "colours:1", "colours:2")


MISMATCHES: dict[str, tuple[dict[str, Any], str]] = {
    "labels": ({"labels": ("red", "green", "grey")}, "the first alone has blue"),
    "order": ({"labels": ("green", "red", "blue")}, "the same in another order"),
    "size": ({"side": 16}, "height 32 and 16, width 32 and 16"),
}


@pytest.mark.parametrize("what", sorted(MISMATCHES))
def test_members_that_differ_are_refused_with_what_they_differ_in(
    tmp_path: Path, what: str
) -> None:
    fields, words = MISMATCHES[what]
    named = {"a": make_bundle(tmp_path / "a"), "b": make_bundle(tmp_path / "b", **fields)}
    with pytest.raises(ensembles.EnsembleRefused, match=words):
        ensembles.members_of(named)


def with_input(bundle: Bundle, **changes: Any) -> Bundle:
    """Return the bundle with another input in its manifest."""
    fields = {
        each.name: getattr(bundle.manifest, each.name) for each in dataclasses.fields(Description)
    }
    fields["input"] = dataclasses.replace(bundle.manifest.input, **changes)
    return write(bundle.root, Description(**fields))


def test_members_may_differ_in_interpolation_if_one_is_chosen(tmp_path: Path) -> None:
    one = make_bundle(tmp_path / "one")
    smooth = with_input(make_bundle(tmp_path / "b"), interpolation=Interpolation.BILINEAR)
    cropped = with_input(make_bundle(tmp_path / "c"), resize=ResizeRule.CROP)

    found = ensembles.members_of({"a": one, "b": smooth})
    with pytest.raises(ensembles.EnsembleRefused, match=r"a bicubic, b bilinear.*--interpolation"):
        ensembles.input_of(found)
    chosen = ensembles.input_of(found, "bilinear")
    assert chosen.interpolation is Interpolation.BILINEAR
    with pytest.raises(ensembles.EnsembleRefused, match="resize squash and crop"):
        ensembles.members_of({"a": one, "c": cropped})


def test_it_refuses_bad_input_with_a_sentence(register: Register) -> None:
    one, two = register(), register()
    for words, sentence in (
        ([one], "two versions or more"),
        ([one, "colours:1"], "each version once"),
        ([one, "colours:9"], "no version 9"),
        ([one, "shapes:1"], "a registered model"),
        ([one, two, "--weights", "1"], "2 weights, one for each"),
        ([one, two, "--weights", "1", "-1"], "weights above 0"),
        ([one, two, "--weights", "1", "nan"], "weights above 0"),
        ([one, two, "--dataset", "nowhere"], "nowhere"),
        ([one, two, "--name", "Not A Slug"], "lower-case letters"),
        ([one, two, "--override-gate"], "expected --reason"),
        ([one, two, "--images", "0"], "at least 1"),
        ([one, two, "--by", "nobody"], "active account"),
        ([one, two, "--reason", "x" * 501], "500 characters at most"),
    ):
        assert sentence in refused("ensemble", *words), words
    assert ModelVersion.objects.count() == 2
