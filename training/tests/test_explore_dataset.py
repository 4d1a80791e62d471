"""`manage.py explore_dataset`: on the console, as JSON and as a page."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from training.datasets import cifar10
from training.datasets.dataset import Dataset
from training.tests.folders import classes, encoded, folder, image, png
from training.tests.sources import tiny_splits


@pytest.fixture(autouse=True)
def root(settings: Any, tmp_path: Path) -> Path:
    settings.DATASETS_ROOT = tmp_path / "datasets"
    return tmp_path / "datasets"


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Classes of 60 and 15 with one of everything that is wrong with pictures."""
    files = classes({"cat": 60, "dog": 15})
    return folder(
        tmp_path / "pets",
        files
        | {
            "cat/broken.jpg": png(1)[:100],
            "cat/copy.png": files["cat/00001.png"],
            "dog/near.jpg": encoded(image(62, side=30), "JPEG", quality=80),
            "dog/conflict.png": files["cat/00002.png"],
            "dog/notes.txt": b"x",
        },
    )


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("explore_dataset", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def failed(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    assert caught.value.returncode == 2
    return str(caught.value)


def test_the_console_says_what_there_is_and_what_is_wrong(pets: Path) -> None:
    said = run(str(pets))

    for line in (
        "pets: 79 picture files, 78 of them readable, 2 classes",
        "  cat        61  ##############################",
        "  dog        17  ########",
        "  The largest is 3.6 times the smallest.",
        "  Consider class weights, and look at the figures of each class.",
        "  formats  PNG 77, JPEG 1",
        "  width    24 to 30, median 24",
        "       1 cannot be read",
        "           cat/broken.jpg: The file ends before the picture does.",
        "       1 conflicting labels",
        "           cat/00002.png = dog/conflict.png",
        "       1 exact copies",
        "           cat/00001.png = cat/copy.png",
        "       1 near duplicates",
        "           dog/00062.png = dog/near.jpg",
        "           dog/notes.txt: Its name is not a picture's.",
        "  all",
    ):
        assert line in said


def test_json_says_it_all_and_the_figures_agree(pets: Path) -> None:
    found = json.loads(run(str(pets), "--json"))

    assert found["files"] == 79
    assert found["classes"] == {"cat": 61, "dog": 17}
    used = {key: sum(split[key] for split in found["splits"].values()) for key in found["classes"]}
    assert used == {"cat": 59, "dog": 16}
    assert sorted(each["kind"] for each in found["left_out"]) == [
        "conflict",
        "conflict",
        "copy",
        "corrupt",
        "ignored",
    ]
    assert len(found["digest"]) == 64


def test_groups_are_counted(tmp_path: Path) -> None:
    files = {
        f"{label}/d{design}_{number}.png": png(1000 * at + 10 * design + number)
        for at, label in enumerate(("back", "front"))
        for design in range(5)
        for number in range(4)
    }
    said = run(str(folder(tmp_path / "cards", files)), "--group-by", r"^(.+)_\d+")

    assert "Groups: 5, of 8 pictures" in said
    assert "           d0: 8" in said


def test_what_training_would_refuse_is_explored_all_the_same(tmp_path: Path) -> None:
    said = run(str(folder(tmp_path / "pets", classes({"cat": 20, "dog": 1}))))

    assert "  dog         1  ##" in said
    assert "Training would refuse it. The class 'dog' has 1 picture; at least 3" in said


class _Page(HTMLParser):
    """What a page loads and how its elements are nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_for_nothing_from_elsewhere(pets: Path, tmp_path: Path) -> None:
    folder(pets, {"cat/<script>alert(1)<.png": png(500)})
    output = tmp_path / "pets.html"
    assert f"Page: {output}" in run(str(pets), "--output", str(output))
    text = output.read_text()
    page = _Page(text)

    assert page.open == []
    # 12 samples of each class, a pair each of conflict, copy and near duplicates.
    assert len(page.sources) == 2 * 12 + 3 * 2
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert "<script" not in text
    assert "url(" not in text
    assert str(tmp_path) not in text
    assert "3.6 times the smallest" in text


def test_a_page_of_what_training_would_refuse_says_so(tmp_path: Path) -> None:
    path = folder(tmp_path / "pets", classes({"cat": 20, "dog": 1}))
    run(str(path), "--output", str(tmp_path / "page.html"))

    assert "Training would refuse it." in (tmp_path / "page.html").read_text()


def test_cifar10_is_explored_as_it_was_fetched(root: Path) -> None:
    splits = tiny_splits()
    root.mkdir()
    cifar10.save(Dataset("cifar10", cifar10.LABEL_KEYS, splits["train"], splits["test"]), root)
    found = json.loads(run("cifar10", "--json"))

    assert found["classes"] == dict.fromkeys(sorted(cifar10.LABEL_KEYS), 7)
    assert "keeps its own test split" in found["notes"][0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nothing"], "There is no data set nothing"),
        (["cifar10"], "There is no CIFAR-10"),
        (["{pets}", "--group-by", "("], "one group in parentheses"),
        (["{pets}", "--seed", "-1"], "Expected a seed of at least 0. Received: -1"),
        (["{pets}", "--output", "{pets}/no/such/page.html"], "in a folder that is there"),
    ],
)
def test_bad_arguments_end_with_code_2(arguments: list[str], expected: str, pets: Path) -> None:
    assert expected in failed(*(each.format(pets=pets) for each in arguments))


def test_exploring_loads_nothing_that_learns(pets: Path) -> None:
    """The web environment has no TensorFlow, and the command is of use there too."""
    program = (
        "import sys, training.management.commands.explore_dataset\n"
        "print(sorted({'keras', 'tensorflow', 'sklearn', 'matplotlib', 'scipy', 'jax'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert (done.stdout.decode().strip(), done.returncode) == ("[]", 0), done.stderr.decode()
