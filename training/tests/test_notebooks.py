"""The notebooks as they are kept: whole, without outputs. That they run, nbmake tests."""

import json
from pathlib import Path

import nbformat
import pytest
from django.conf import settings

from notebooks.strip import stripped

ROOT = Path(settings.BASE_DIR)
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PAGE = (ROOT / "docs" / "how-to" / "notebooks.md").read_text("utf-8")
OURS = (FOLDER, *(ROOT / name for name in ("docs", "benchmarks", "classifier", "scripts")))


def test_there_are_four_and_the_page_names_them() -> None:
    assert [path.stem.partition("-")[2] for path in NOTEBOOKS] == [
        "exploration", "baseline", "transfer-learning", "evaluation",
    ]  # fmt: skip
    assert all(path.name in PAGE for path in NOTEBOOKS)


def test_all_of_them_are_run_with_the_other_tests(pytestconfig: pytest.Config) -> None:
    assert "notebooks" in pytestconfig.getini("testpaths")
    assert "--nbmake" in pytestconfig.getini("addopts")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_nothing_that_a_run_left(path: Path) -> None:
    """`make format` strips them: outputs would show pictures of data sets, and hide each change."""
    text = path.read_text("utf-8")
    assert stripped(text) == text, "Run: make format"
    for cell in json.loads(text)["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_its_cells_have_names_that_stay(path: Path) -> None:
    notebook = nbformat.read(path, nbformat.NO_CONVERT)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    name = path.stem.partition("-")[2]
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(each.startswith(f"{name}-") for each in ids)


def test_what_a_run_left_is_stripped_and_nothing_else() -> None:
    text = NOTEBOOKS[0].read_text("utf-8")
    run = json.loads(text)
    cell = next(cell for cell in run["cells"] if cell["cell_type"] == "code")
    printed = {"output_type": "stream", "name": "stdout", "text": ["/home/ada/pictures"]}
    cell |= {"execution_count": 7, "outputs": [printed]}
    cell["metadata"] = {"execution": {"iopub.execute_input": "2026-01-01"}}
    run["metadata"]["language_info"]["version"] = "3.12.1"
    assert stripped(json.dumps(run)) == text


def test_no_other_notebook_is_in_the_repository() -> None:
    found = {path for folder in OURS for path in folder.rglob("*.ipynb")}
    assert {path for path in found if ".ipynb_checkpoints" not in path.parts} == set(NOTEBOOKS)
