"""What the admin prints of a manifest."""

from pathlib import Path

from classifier.admin import sheets
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


def test_a_version_made_of_others_names_them_and_what_it_cost(tmp_path: Path) -> None:
    parents = (Parent("colours", "ab" * 32, "cnn", 0.75), Parent("colours", "cd" * 32, "vit", 0.25))
    ensemble = Lineage(Made.ENSEMBLE, parents, Mean.LOGITS)
    smaller = Lineage(Made.INT8, parents[:1], cost=Cost(1000, 900, 898, 5, 3))
    one, other = (
        dict(sheets.facts(make_bundle(tmp_path / each.made, lineage=each).manifest.to_json()))
        for each in (ensemble, smaller)
    )

    assert one["Made of other versions"] == [
        ("made", "ensemble, of logits"),
        ("colours (cnn)", "bundle abababababab, weight 0.75"),
        ("colours (vit)", "bundle cdcdcdcdcdcd, weight 0.25"),
    ]
    assert other["Made of other versions"] == [
        ("made", "int8"),
        ("colours (cnn)", "bundle abababababab"),
        ("right before, and now", "900, 898 of 1,000 test images"),
    ]
