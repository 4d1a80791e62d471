"""manage.py classify, called as a person calls it."""

import csv
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from classifier import registry
from classifier.management.progress import Progress
from classifier.models import ModelVersion, Prediction, RegisteredModel, Upload
from classifier.tests.bundles import COLOURS, make_bundle, picture

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colours: ModelVersion) -> Path:
    """A folder of nine pictures, three of each colour, in the folder that the person is in."""
    here = tmp_path / "here"
    for at in range(9):
        path = here / "p" / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(COLOURS[at % 3], size=(40 + at, 40)))
    monkeypatch.chdir(here)
    return here / "p"


def say(*words: str) -> tuple[str, str]:
    """Return what is written to the standard output and to the standard error."""
    out, err = io.StringIO(), io.StringIO()
    call_command("classify", *words, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


def refused(*words: str) -> tuple[int, str]:
    """Return the exit code and the sentence of a command that fails."""
    with pytest.raises(CommandError) as caught:
        say(*words)
    return caught.value.returncode, str(caught.value)


def rows(path: str = "l.csv") -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def labels(path: str = "l.csv") -> dict[str, str]:
    return {row["path"]: row["label"] for row in rows(path)}


EXPECTED = {f"p/{at}.png": COLOURS[at % 3] for at in range(9)}


def test_a_folder_gets_its_labels() -> None:
    out, _ = say("p", "--out", "l.csv")

    assert labels() == EXPECTED
    assert rows()[0]["name"] == "Red"
    assert out.startswith("Colours v1: 9 pictures in ")
    assert [line.split() for line in out.splitlines()[2:]] == [
        ["LABEL", "PICTURES", "HIGH", "MEDIUM", "LOW"],
        ["Red", "3", "3", "0", "0"],
        ["Green", "3", "3", "0", "0"],
        ["Blue", "3", "3", "0", "0"],
    ]


def test_nothing_is_recorded() -> None:
    say("p", "--out", "l.csv")

    assert (Upload.objects.count(), Prediction.objects.count()) == (0, 0)


def test_without_a_file_the_rows_and_nothing_else_are_printed() -> None:
    out, err = say("p/0.png", "p/4.png", "--top", "2")

    found = list(csv.DictReader(io.StringIO(out)))
    assert [(row["path"], row["label"]) for row in found] == [
        ("p/0.png", "red"),
        ("p/4.png", "green"),
    ]
    assert found[0]["label_2"] in {"green", "blue"}
    assert "Colours v1: 2 pictures in " in err


def test_zips_lists_and_pipes_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile("z.zip", "w") as archive:
        archive.write("p/1.png", "in/x.png")
    Path("list.txt").write_text("p/2.png\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"p/0.png\n")))

    say("z.zip", "list.txt", "-", "--out", "l.jsonl", "--threads", "3", "--batch-size", "1")

    found = [json.loads(line) for line in Path("l.jsonl").read_text().splitlines()]
    assert [(row["path"], row["label"]) for row in found] == [
        ("z.zip/in/x.png", "green"),
        ("p/2.png", "blue"),
        ("p/0.png", "red"),
    ]


def test_any_version_of_any_model_may_answer(tmp_path: Path) -> None:
    registry.register(make_bundle(tmp_path / "v2", rotate=1).root)
    registry.register(make_bundle(tmp_path / "other", name="other", rotate=2).root, activate=True)

    for words, expected in (
        (["--version", "2"], ("colours", "2", "green")),
        (["--version", "v1"], ("colours", "1", "red")),
        (["--model", "other"], ("other", "1", "blue")),
    ):
        out, _ = say("p/0.png", *words)
        (row,) = csv.DictReader(io.StringIO(out))
        assert (row["model"], row["version"], row["label"]) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["none"], "There is no none."),
        (["p", "none.zip"], "There is no none.zip."),
        (["p", "--model", "none"], "(there are: colours). Received: 'none'"),
        (["p", "--version", "7"], "(there are: 1). Received: '7'"),
        (["p", "--out", "l.txt"], "ends in .csv or .jsonl. Received: '.txt'"),
        (["p", "--out", "none/l.csv"], "none/l.csv cannot be written"),
        (["p", "--restart"], "Expected --out"),
        (["p", "--hard-link"], "Expected --copy-to"),
        (["p", "--copy-to", "p/0.png"], "p/0.png cannot be made"),
    ],
)
def test_what_cannot_be_done_is_refused(words: list[str], expected: str) -> None:
    code, sentence = refused(*words)

    assert code == 2
    assert expected in sentence


@pytest.mark.parametrize(
    "words", [["--threads", "0"], ["--batch-size", "x"], ["--top", "-1"], ["--threads", "257"]]
)
def test_numbers_out_of_range_are_refused(words: list[str]) -> None:
    with pytest.raises(CommandError, match=r"expected 1 to \d+\. Received"):
        say("p", *words)


def test_a_folder_without_pictures_is_refused_with_what_was_passed_over() -> None:
    Path("q").mkdir()
    Path("q/notes.md").write_text("x")

    code, sentence = refused("q", "--out", "l.csv")

    assert code == 2
    assert sentence == "There are no pictures in q. Passed over: 1 (not named like a picture)."
    assert not Path("l.csv").exists()


def test_a_model_without_an_active_version_is_refused() -> None:
    RegisteredModel.objects.update(active_version=None)

    assert refused("p")[0] == 2
    assert "has no active version" in refused("p")[1]
    assert say("p/0.png", "--version", "1")[0].count("\n") == 2


def test_without_a_default_model_one_has_to_be_named() -> None:
    RegisteredModel.objects.update(is_default=False)

    assert "Say which with --model" in refused("p")[1]
    assert "p/0.png" in say("p", "--model", "colours")[0]


def test_a_version_that_does_not_prove_itself_is_refused(colours: ModelVersion) -> None:
    (colours.bundle_root / "model.onnx").write_bytes(b"broken")

    code, sentence = refused("p", "--out", "l.csv")

    assert (code, "model.onnx" in sentence) == (2, True)


def test_pictures_that_fail_are_listed_and_the_others_answered() -> None:
    Path("p/bad.png").write_bytes(b"no picture")
    Path("p/empty.png").touch()

    code, sentence = refused("p", "--out", "l.csv")

    assert code == 1
    assert "2 pictures failed:\n  p/bad.png: This file is not a picture" in sentence
    assert {path: label for path, label in labels().items() if label} == EXPECTED
    assert [row["error_code"] for row in rows()[9:]] == ["not_an_image", "empty"]


def test_what_has_a_row_is_not_done_again(colours: ModelVersion) -> None:
    say("p", "--out", "l.csv")
    Path("p/new.png").write_bytes(picture("blue"))

    out, _ = say("p", "--out", "l.csv")

    assert "1 picture in" in out
    assert "9 were done before" in out
    assert labels() == EXPECTED | {"p/new.png": "blue"}
    (colours.bundle_root / "model.onnx").unlink()
    assert "10 were done before" in say("p", "--out", "l.csv")[0]  # and nothing was loaded


def test_a_failure_stays_until_it_is_tried_again() -> None:
    Path("p/bad.png").write_bytes(b"no picture")
    refused("p", "--out", "l.csv")
    Path("p/bad.png").write_bytes(picture("green"))

    assert refused("p", "--out", "l.csv")[0] == 1
    say("p", "--out", "l.csv", "--retry-failed")

    assert labels() == EXPECTED | {"p/bad.png": "green"}


def test_a_file_begun_with_another_version_is_gone_on_with_only_from_the_start(
    tmp_path: Path,
) -> None:
    say("p", "--out", "l.csv")
    registry.register(make_bundle(tmp_path / "v2", rotate=1).root, activate=True)

    code, sentence = refused("p", "--out", "l.csv")

    assert code == 2
    assert "begun with colours v1, and this is colours v2" in sentence
    assert "--model colours --version 1" in sentence
    say("p", "--out", "l.csv", "--model", "colours", "--version", "1")
    assert labels() == EXPECTED
    say("p", "--out", "l.csv", "--restart")
    assert labels()["p/0.png"] == "green"


def test_ctrl_c_keeps_what_was_done_and_the_next_run_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Pipe(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            if line := super().readline(size):
                return line
            raise KeyboardInterrupt

    pipe = io.TextIOWrapper(Pipe(b"".join(b"p/%d.png\n" % at for at in range(7))))
    monkeypatch.setattr("sys.stdin", pipe)

    code, sentence = refused("-", "--out", "l.csv", "--threads", "1", "--batch-size", "1")

    assert code == 130
    assert sentence.startswith("Stopped after ")
    done = len(rows())
    assert 1 <= done <= 7
    assert f"{9 - done} pictures in" in say("p", "--out", "l.csv")[0]
    assert labels() == EXPECTED


def test_pictures_are_copied_into_class_folders() -> None:
    Path("p/bad.png").write_bytes(b"no picture")

    refused("p", "--out", "l.csv", "--copy-to", "p/sorted")

    copied = {str(path.relative_to("p/sorted")) for path in Path("p/sorted").rglob("*.png")}
    assert copied == {f"{COLOURS[at % 3]}/{at}.png" for at in range(9)}
    assert Path("p/sorted/red/0.png").read_bytes() == Path("p/0.png").read_bytes()
    # A second run takes its own copies for no new pictures.
    refused("p", "--out", "m.csv", "--copy-to", "p/sorted")
    assert len(list(Path("p/sorted").rglob("*.png"))) == 9


def test_a_copy_that_fails_is_a_failure_of_that_picture() -> None:
    Path("out").mkdir()
    Path("out/red").write_text("in the way")

    code, sentence = refused("p", "--out", "l.csv", "--copy-to", "out")

    assert code == 1
    assert "3 pictures failed:\n  p/0.png: It could not be copied" in sentence
    assert labels() == EXPECTED
    assert [row["error_code"] for row in rows()] == ["not_copied", "", ""] * 3


def test_hard_links_take_no_room() -> None:
    say("p", "--copy-to", "out", "--hard-link")

    assert Path("out/blue/2.png").samefile("p/2.png")


def test_the_settings_limit_a_picture(settings: Settings) -> None:
    settings.IMAGE_MAX_BYTES = len(Path("p/0.png").read_bytes()) - 1

    assert refused("p/0.png", "--out", "l.csv")[0] == 1
    assert rows()[0]["error_code"] == "too_many_bytes"


def test_nothing_is_said_where_nothing_shall_be() -> None:
    assert say("p", "--out", "l.csv", "--verbosity", "0") == ("", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("terminal", "ending"), [(True, "\r"), (False, "\n")])
def test_progress_is_one_line_on_a_terminal_and_many_elsewhere(terminal: bool, ending: str) -> None:
    from django.core.management.base import OutputWrapper

    stream = Terminal() if terminal else io.StringIO()
    progress = Progress(OutputWrapper(stream), total=1200)
    for at in range(300):
        progress.count(failed=at == 0)
    progress.show()
    progress.end()

    said = stream.getvalue()
    assert "300 of 1,200, " in said
    assert "left, 1 failed" in said
    assert said.count(ending) == 1
    assert ("\x1b[2K" in said) == terminal


def test_progress_without_an_end_in_sight_says_how_many() -> None:
    from django.core.management.base import OutputWrapper

    stream = io.StringIO()
    progress = Progress(OutputWrapper(stream), total=None)
    progress.count(failed=False)
    progress.show()

    assert stream.getvalue().startswith("1 picture, ")


def test_the_help_speaks_of_the_models_version() -> None:
    said = subprocess.run(
        [sys.executable, "manage.py", "classify", "--help"],
        cwd=Path(__file__).parents[2],
        env={"SECRET_KEY": "x", "ENV_FILE": "", "COLUMNS": "200", "DATABASE_URL": "sqlite://"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout

    assert "--version N" in said
    assert "Nothing is recorded in the database" in said
