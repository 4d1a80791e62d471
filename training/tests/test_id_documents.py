"""Ten types of drawn documents: what tells them apart, the data set of them, and its recipe."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from string import ascii_letters, digits

import numpy as np
import pytest

from classifier import imaging
from classifier.imaging import InputSpec, ResizeRule
from training.architectures import mobilenet_v3_small
from training.datasets import id_documents, sources
from training.datasets.cards import documents, fronts, marks, text
from training.datasets.cards.documents import DOCUMENTS_OF_A_DESIGN, KINDS
from training.datasets.cards.typefaces import MONO, SANS, SCRIPT, SERIF, WORLD, Typeface
from training.datasets.cards.words import _SCRIPTS, _VOWELS
from training.datasets.dataset import DatasetError
from training.recipes import recipe as recipes
from training.tests import tiny
from training.trainer import Trainer

INPUT = InputSpec(height=32, width=32, resize=ResizeRule.PAD)
SMALL = "id_documents:count=200"
NOWHERE = "\uffff"  # a letter of no font
ISSUES = range(40)  # four designs of each type


def flat(issue: int, holder: int = 0) -> np.ndarray:
    kind = KINDS[issue % len(KINDS)]
    drawn = documents.draw_flat(
        kind, documents.design(0, issue), np.random.default_rng([issue, holder])
    )
    return np.asarray(drawn)


@dataclasses.dataclass(frozen=True)
class Printed:
    """What layouts printed, by kind, over four designs of each."""

    zones: dict[str, list[int]]  # how many lines each machine-readable zone had
    portraits: Counter[str]
    tables: Counter[str]


@pytest.fixture(scope="module")
def printed() -> Iterator[Printed]:
    found = Printed(defaultdict(list), Counter(), Counter())
    now = [""]
    zone, main_portrait, table = (
        marks.machine_readable_zone, fronts.main_portrait, text.table,
    )  # fmt: skip

    def counted_zone(*arguments: object, lines: int, **options: object) -> None:
        found.zones[now[0]].append(lines)
        zone(*arguments, lines=lines, **options)  # type: ignore[arg-type]

    def counted_portrait(*arguments: object) -> None:
        found.portraits[now[0]] += 1
        main_portrait(*arguments)  # type: ignore[arg-type]

    def counted_table(*arguments: object, **options: object) -> None:
        found.tables[now[0]] += 1
        table(*arguments, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marks, "machine_readable_zone", counted_zone)
        patch.setattr(fronts, "main_portrait", counted_portrait)
        patch.setattr(text, "table", counted_table)
        for issue in ISSUES:
            now[0] = KINDS[issue % len(KINDS)]
            flat(issue)
        yield found


# -- documents -------------------------------------------------------------------------------------


def test_the_ten_types_take_turns_two_documents_of_a_design_each() -> None:
    drawn = [documents.draw(0, number) for number in range(2 * len(KINDS) + 1)]
    assert [one.kind for one in drawn] == [kind for kind in KINDS for _ in "ab"] + [KINDS[0]]
    assert [one.design for one in drawn[:5]] == [0, 0, 1, 1, 2]
    assert {one.image.mode for one in drawn} == {"RGB"}
    assert {max(one.image.size) for one in drawn} == {448}
    assert len({one.image.size for one in drawn}) >= 3


def test_the_same_seed_and_number_draw_the_same_document() -> None:
    first, again = (np.asarray(documents.draw(3, 25).image) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = np.asarray(documents.draw(4, 25).image)
    assert first.shape != other.shape or (first != other).any()


def test_designs_of_a_type_differ_and_holders_of_a_design_share_its_look() -> None:
    for kind in range(len(KINDS)):
        first, second = flat(kind, holder=1), flat(kind, holder=2)
        assert (first != second).any()
        assert (first == second).mean() > 0.4
        designs = [documents.design(0, kind + 10 * number) for number in range(4)]
        assert len({one.palette for one in designs}) == 4
        assert len({one.printing.labels for one in designs}) == 4


def test_machine_readable_lines_are_those_of_the_type(printed: Printed) -> None:
    assert set(printed.zones["passport_page"]) == set(printed.zones["visa"]) == {2}
    assert len(printed.zones["passport_page"]) == len(printed.zones["visa"]) == 4
    assert 3 in printed.zones["identity_card_back"]
    without = {
        "driving_licence_back", "driving_licence_front", "health_insurance_card", "student_card",
        "vehicle_registration",
    }  # fmt: skip
    assert not without & printed.zones.keys()


def test_portraits_and_tables_stand_on_the_types_that_have_them(printed: Printed) -> None:
    always = {
        "driving_licence_front", "identity_card_front", "passport_page", "residence_permit",
        "student_card",
    }  # fmt: skip
    assert {kind for kind, count in printed.portraits.items() if count == 4} >= always
    assert not printed.portraits.keys() & {
        "driving_licence_back", "identity_card_back", "vehicle_registration",
    }  # fmt: skip
    assert printed.tables == {"driving_licence_back": 4}


def test_licences_number_their_fields_and_others_do_not() -> None:
    places = defaultdict(set)
    for issue in ISSUES:
        places[KINDS[issue % len(KINDS)]].add(documents.design(0, issue).printing.place)
    numbered = {kind for kind, found in places.items() if "numbered" in found}
    assert numbered == {"driving_licence_back", "driving_licence_front"}


def test_a_stickers_page_and_an_open_booklet_have_their_own_forms() -> None:
    forms = defaultdict(set)
    for issue in range(200):
        forms[KINDS[issue % len(KINDS)]].add(documents.design(0, issue).form)
    assert forms["passport_page"] == {"td3", "spread"}
    assert forms["visa"] == {"td3", "mrv_a", "mrv_b"}
    assert forms["vehicle_registration"] == {"threefold", "a6"}
    assert forms["student_card"] == {"td1", "upright"}
    assert documents.design(0, 5).size[0] <= 512 >= documents.design(0, 5).size[1]


@pytest.mark.parametrize(("seed", "number"), [(-1, 0), (0, -1)])
def test_a_number_below_zero_is_refused(seed: int, number: int) -> None:
    with pytest.raises(ValueError, match=r"of at least 0. Received: "):
        documents.draw(seed, number)


def test_a_kind_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected one of the kinds .*visa. Received: 'stamp'"):
        documents.draw_flat("stamp", documents.design(0, 0), np.random.default_rng(0))


# -- the data set ----------------------------------------------------------------------------------


def test_held_out_designs_are_not_those_of_training_and_every_split_has_every_type() -> None:
    dataset = id_documents.load("id_documents:count=415", input=INPUT)
    assert dataset.validation is not None
    splits = (dataset.train, dataset.validation, dataset.test)
    designs = [
        {int(name.split("/")[-1]) // DOCUMENTS_OF_A_DESIGN for name in split.names}
        for split in splits
    ]
    assert sum(map(len, designs)) == len(set.union(*designs)) == 208
    assert [len(split) for split in splits] == [320, 55, 40]
    assert all(set(split.labels.tolist()) == set(range(10)) for split in splits)


def test_a_drawn_document_has_its_type_as_label_and_its_pixels() -> None:
    dataset = sources.load(SMALL, root=Path(), input=INPUT)
    number = int(dataset.train.names[7].split("/")[-1])
    one = documents.draw(0, number)
    assert dataset.label_keys == KINDS
    assert dataset.label_keys[dataset.train.labels[7]] == one.kind
    expected = imaging.to_array(one.image, INPUT)
    np.testing.assert_array_equal(dataset.train.images[np.array([7])][0], expected)
    assert "200 drawn documents of 100 designs" in dataset.notes[0]


def test_the_digest_knows_the_choice() -> None:
    chosen = (SMALL, f"{SMALL},seed=1", "id_documents:count=220", "id_documents")
    assert len({id_documents.load(source, input=INPUT).digest for source in chosen}) == 4
    assert (
        id_documents.load(SMALL, input=INPUT).digest == id_documents.load(SMALL, input=INPUT).digest
    )


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("id_documents:cards=300", r"Expected id_documents, then : and some of count=N, seed=N"),
        ("id_documents:count=many", r"Expected count as a whole number. Received: 'many'"),
        ("id_documents:seed=-1", r"Expected seed as a whole number. Received: '-1'"),
        ("id_documents:count=199", r"Expected count=200 or more.* Received: 199"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(source: str, sentence: str) -> None:
    with pytest.raises(DatasetError, match=sentence):
        sources.load(source, root=Path(), input=INPUT)


# -- the recipe ------------------------------------------------------------------------------------


def test_the_recipes_network_gives_a_logit_for_each_type() -> None:
    recipe = recipes.find("id_documents")
    network = mobilenet_v3_small.build(
        len(KINDS), height=64, width=64, **recipe.architecture_options
    )
    logits = np.asarray(network(np.zeros((2, 64, 64, 3), dtype=np.uint8)))
    assert logits.shape == (2, 10)
    assert recipe.architecture == network.name == "mobilenet_v3_small"
    mobilenet_v3_small.prepare(network, np.zeros((1, 64, 64, 3), dtype=np.uint8))
    norms = [layer for layer in network.layers if hasattr(layer, "momentum")]
    # From nothing, Keras' 0.999 would still remember its start when the run is over.
    assert {layer.momentum for layer in norms} == {0.98}


def test_the_recipes_settings_train_on_its_pictures(tmp_path: Path) -> None:
    recipe = recipes.find("id_documents").on(tiny.RECIPE.architecture)
    recipe = dataclasses.replace(recipe, weights="none")
    dataset = id_documents.load(SMALL, input=INPUT)
    trainer = Trainer(
        recipe,
        recipe.settings.changed(recipe.smoke),
        train=dataset.train.take(np.arange(0, 20, 2)),
        validation=dataset.train.take(np.arange(0, 20, 2)),
        label_count=len(dataset.label_keys),
        seed=0,
        folder=tmp_path,
        report=lambda event: None,
    )
    trainer.run()
    assert [line.epoch for line in trainer.history] == [1, 2]
    assert np.isfinite(trainer.history[0].validation_loss)


def test_the_recipe_turns_pictures_any_way_and_never_mirrors_them() -> None:
    recipe = recipes.find("id_documents")
    assert recipe.settings.rotation == 180
    assert not recipe.settings.alternating_flip
    assert recipe.input is not None
    assert recipe.input.resize is ResizeRule.PAD


def test_the_model_card_says_that_it_learned_from_drawn_documents() -> None:
    card = " ".join(recipes.find("id_documents").card.split())
    assert "No real document was seen" in card
    assert "real documents need real samples" in card


@pytest.mark.parametrize("name", sorted({*SANS, *SERIF, *MONO, *SCRIPT}))
def test_no_letter_of_a_name_is_printed_as_an_empty_box(name: str) -> None:
    typeface = Typeface(name, spells_what_it_has=True)
    box = np.asarray(typeface.mask(NOWHERE, 20))
    for letter in {*"".join(_VOWELS), *"".join(_VOWELS).upper(), *ascii_letters, *digits, *"<./-"}:
        printed = np.asarray(typeface.mask(letter, 20))
        assert printed.any(), letter
        assert not np.array_equal(printed, box), letter


@pytest.mark.parametrize("name", WORLD)
def test_no_letter_of_another_script_is_printed_as_an_empty_box(name: str) -> None:
    typeface = Typeface(name, spells_what_it_has=True)
    boxes = [np.asarray(Typeface(each).mask(NOWHERE, 20)) for each in WORLD]
    for letters, capitals in _SCRIPTS.values():
        for letter in letters + (letters.upper() if capitals else ""):
            printed = np.asarray(typeface.mask(letter, 20))
            assert not any(np.array_equal(printed, box) for box in boxes), letter


def test_georgian_is_printed_in_letters_that_the_typeface_has() -> None:
    printing = documents.design(0, 0).printing
    small = "აბგ"

    for typeface in (printing.label, printing.value, printing.title, printing.hand):
        capitals = typeface.mask(small.upper(), 20)
        assert np.array_equal(np.asarray(capitals), np.asarray(typeface.mask(small, 20)))
        assert typeface.width(small.upper(), 20) == typeface.width(small, 20)
