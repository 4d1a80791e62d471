"""`manage.py draw_cards`: folders, zips, sheets, and what it refuses."""

import io
import zipfile
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from PIL import Image

from training.datasets import cards
from training.datasets.cards import files


def draw(*arguments: object) -> str:
    out = io.StringIO()
    call_command("draw_cards", *map(str, arguments), stdout=out)
    return out.getvalue()


def refusal(*arguments: object) -> str:
    with pytest.raises(CommandError) as refused:
        draw(*arguments)
    assert refused.value.returncode == 2
    return str(refused.value)


def test_it_writes_fronts_and_backs_into_a_folder(tmp_path: Path) -> None:
    said = draw(tmp_path / "cards", "--count", 5)
    names = sorted(
        path.relative_to(tmp_path / "cards").as_posix() for path in tmp_path.rglob("*.jpg")
    )
    assert names == [
        "back/design00000_000001.jpg",
        "back/design00000_000003.jpg",
        "front/design00000_000000.jpg",
        "front/design00000_000002.jpg",
        "front/design00001_000004.jpg",
    ]
    assert "5 cards in" in said
    with Image.open(tmp_path / "cards" / names[0]) as picture:
        assert max(picture.size) == 448


def test_the_same_seed_writes_the_same_zip(tmp_path: Path) -> None:
    for name in ("first", "second"):
        draw(tmp_path / f"{name}.zip", "--count", 2, "--seed", 4)
    first = (tmp_path / "first.zip").read_bytes()
    assert first == (tmp_path / "second.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert len(archive.namelist()) == 2


def test_it_writes_a_sheet_to_look_at(tmp_path: Path) -> None:
    said = draw("--sheet", tmp_path / "sheet.png", "--count", 9)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (8 * 240, 2 * 202)
    assert "Contact sheet" in said


def test_it_draws_documents_into_a_folder_for_each_type(tmp_path: Path) -> None:
    said = draw(tmp_path / "documents", "--documents", "--count", 5, "--seed", 1)
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jpg"))
    assert names == [
        "documents/driving_licence_back/design00000_000000.jpg",
        "documents/driving_licence_back/design00000_000001.jpg",
        "documents/driving_licence_front/design00001_000002.jpg",
        "documents/driving_licence_front/design00001_000003.jpg",
        "documents/health_insurance_card/design00002_000004.jpg",
    ]
    assert "5 documents in" in said


def test_a_sheet_of_documents_has_ten_in_a_row(tmp_path: Path) -> None:
    draw("--documents", "--sheet", tmp_path / "sheet.jpg", "--count", 11)
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.size == (10 * 240, 2 * 202)


def test_it_leaves_alone_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert "There is something already" in refusal(tmp_path, "--count", 2)
    assert "There is something already" in refusal(tmp_path / "mine.txt", "--count", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_what_was_broken_off_leaves_nothing(tmp_path: Path) -> None:
    def broken_off(seed: int, number: int) -> cards.Card:
        if number:
            raise KeyboardInterrupt
        return cards.draw(seed, number)

    for name in ("cards", "cards.zip"):
        with pytest.raises(KeyboardInterrupt):
            files.write(tmp_path / name, broken_off, count=2, seed=0)
    assert not list(tmp_path.iterdir())


def test_it_refuses_to_draw_no_cards(tmp_path: Path) -> None:
    assert "Expected --count of at least 1" in refusal(tmp_path / "cards", "--count", 0)
    sentence = refusal(tmp_path / "cards", "--documents", "--count", 3, "--seed", -1)
    assert "--seed of at least 0. Received: 3, -1" in sentence
    assert not (tmp_path / "cards").exists()


def test_it_asks_where_to(tmp_path: Path) -> None:
    assert "Received: neither" in refusal("--count", 2)


def test_it_refuses_a_sheet_of_another_format(tmp_path: Path) -> None:
    sentence = refusal("--sheet", tmp_path / "sheet.doc", "--count", 2)
    assert "Expected --sheet to end in .png or .jpg" in sentence


def test_it_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refusal(tmp_path / "file" / "cards", "--count", 1)
