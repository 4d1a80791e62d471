"""What the admin prints of a manifest."""

import dataclasses
from pathlib import Path

import pytest

from classifier import registry
from classifier.admin import sheets
from classifier.admin.made_of import made_of
from classifier.lineage import Cost, Lineage, Made, Mean, Parent
from classifier.measured import Acceptance, AcceptanceRule, Failure, MeasuredLevel
from classifier.tests.bundles import make_bundle


def test_what_was_measured_is_shown_and_what_was_not_leaves_no_heading(tmp_path: Path) -> None:
    failures = (Failure("recall", "red", 0.65, 0.7), Failure("ece", None, None, 0.05))
    level = MeasuredLevel(70, 0.7, 0.99, (0.92, 1.0))
    measured = make_bundle(
        tmp_path / "measured",
        acceptance=Acceptance(AcceptanceRule(), failures),
        levels={"high": level, "medium": level, "low": level},
    )
    told = dict(sheets.facts(measured.manifest.to_json()))
    assert told["Acceptance"][:3] == [
        ("accepted", "no"),
        ("failed: recall red", "0.65, limit 0.7"),
        ("failed: ece", f"{sheets.UNKNOWN}, limit 0.05"),
    ]
    assert ("high.precision", "0.99") in told["Confidence levels on test images"]

    plain = dict(sheets.facts(make_bundle(tmp_path / "plain").manifest.to_json()))
    assert not {"Acceptance", "Not sure", "Confidence levels on test images"} & set(plain)


@pytest.mark.django_db
def test_a_version_made_of_others_names_them_with_their_figures(tmp_path: Path) -> None:
    known = registry.register(make_bundle(tmp_path / "known").root)
    one, other = Parent("colours", known.bundle_digest, "cnn", 0.75), Parent("c", "cd" * 32, "vit")
    ensemble = Lineage(Made.ENSEMBLE, (one, dataclasses.replace(other, weight=0.25)), Mean.LOGITS)
    smaller = Lineage(Made.INT8, (one,), cost=Cost(1000, 900, 898, 5, 3))
    both, small = (
        registry.register(make_bundle(tmp_path / each.made, accuracy=0.9, lineage=each).root)
        for each in (ensemble, smaller)
    )

    shown, of_one = made_of(both), made_of(small)

    assert made_of(known) is None
    assert shown is not None
    assert of_one is not None
    assert [(each.name, each.pk) for each in shown.origins] == [
        (str(known), known.pk),
        ("c, not registered here: bundle cdcdcdcdcdcd", None),
    ]
    assert shown.origins[0].cells[:3] == ("mean_colour", "0.75", "95.00%")
    assert shown.itself.cells[:3] == ("mean_colour of 2", "", "90.00%")
    assert "900 right, this one 898" in of_one.sentences[1]
    assert small.network == "mean_colour, int8"


def test_what_a_recipe_keeps_for_programs_is_told_in_words(tmp_path: Path) -> None:
    recipe = {
        "name": "ensemble",
        "settings": {"weights": [0.5, 0.25], "flip": True},
        "cuts": [{"validation": 2500, "smoke": False}],
        "refreshed": [{"bundle": "ab" * 32, "created": "2026-11-02T10:00:00Z", "libraries": {}}],
    }
    manifest = make_bundle(tmp_path).manifest.to_json() | {"recipe": recipe}

    told = dict(sheets.facts(manifest))

    assert told["Recipe"] == [
        ("name", "ensemble"),
        ("held out", "2,500 images for validation"),
        ("made anew from", "bundle abababababab of 2026-11-02"),
    ]
    assert told["Settings"] == [("weights", "0.5, 0.25"), ("flip", "yes")]
