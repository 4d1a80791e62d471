import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from classifier import registry
from classifier.tests.bundles import make_bundle
from training.tests.swatches import write_swatches

pytestmark = pytest.mark.django_db
Compare = Callable[..., str]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Two versions of `colours` (the second calls every colour by the next one's name)."""
    root = write_swatches(tmp_path / "swatches", 4)
    registry.register(make_bundle(tmp_path / "one").root, activate=True)
    registry.register(make_bundle(tmp_path / "two", rotate=1, seed=1).root)

    def run(*arguments: str) -> str:
        stdout = io.StringIO()
        options = ["--dataset", str(root), "--split", "all"]
        call_command("compare", *arguments, *options, stdout=stdout)
        return stdout.getvalue()

    return run


def test_it_says_which_is_better_and_whether_that_is_chance(compare: Compare) -> None:
    printed = compare("colours", "colours:2", "--show", "2")
    assert "100.00%" in printed
    assert "p = 0.000488 (McNemar, exact), more than chance gives" in printed
    assert "12 images are answered differently" in printed
    assert printed.count(".png: ") == 2
    assert "red -100.0" in printed
    assert "\x1b" not in printed


def test_as_json_it_names_every_image_on_which_they_differ(compare: Compare) -> None:
    told = json.loads(compare("colours:1", "colours:2", "--json"))
    assert [version["accuracy"] for version in told["versions"]] == [1.0, 0.0]
    (pair,) = told["pairs"]
    assert (pair["only_first"], pair["only_second"]) == (12, 0)
    assert pair["p_value"] == pytest.approx(2 * 0.5**12)
    red = next(image for image in pair["images"] if image["name"] == "red/0.png")
    assert (red["truth"], red["first"], red["second"]) == ("red", "red", "green")


def test_a_page_shows_the_images(compare: Compare, tmp_path: Path) -> None:
    compare("colours:1", "colours:2", "--output", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert page.count("<figure>") == 12
    assert "red/0.png" in page


def test_versions_that_list_their_labels_in_another_order_are_compared(
    compare: Compare, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "turned", labels=("green", "blue", "red"), rotate=2)
    registry.register(bundle.root)
    told = json.loads(compare("colours:1", "colours:3", "--json"))
    assert [version["accuracy"] for version in told["versions"]] == [1.0, 1.0]
    assert told["pairs"][0]["p_value"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["colours"], "two versions that differ. Received: colours:1"),
        (["colours", "colours:1"], "two versions that differ"),
        (["colours", "colours:9"], "no version 9"),
        (["colours", "nothing"], "Expected a registered model"),
        (["colours", "colours:2", "--output", "x.pdf"], r"ends in \.html"),
        (["colours:1", "pets"], "same labels.*cat, dog"),
    ],
)
def test_bad_input_is_answered_with_what_was_expected(
    compare: Compare, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    pets = make_bundle(tmp_path / "pets", name="pets", labels=("cat", "dog", "red"))
    registry.register(pets.root, activate=True)
    with pytest.raises(CommandError, match=sentence) as refusal:
        compare(*arguments)
    assert refusal.value.returncode == 2
