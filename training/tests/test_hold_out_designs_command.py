"""`manage.py hold_out_designs`: one training per design, kept, resumed, and what it refuses."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from PIL import Image

from classifier.imaging import InputSpec
from training.datasets import drawn
from training.held_out_designs import HeldOut, table
from training.recipes import front_back


@pytest.fixture
def small(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two designs whose fronts are light and whose backs are dark, and a small network."""
    settings.DATASETS_ROOT = tmp_path / "datasets"
    settings.RUNS_ROOT = tmp_path / "runs"
    for design in ("alpha", "beta"):
        for side, level in (("front", 220), ("back", 30)):
            folder = tmp_path / "datasets" / "front_back" / side
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(3):
                image = Image.new("RGB", (40, 30), (level + index, level, len(design)))
                image.save(folder / f"{design}_{index}.jpg")
    recipe = dataclasses.replace(
        front_back.RECIPE,
        input=InputSpec(height=32, width=32),
        architecture="baseline_cnn",
        weights="none",
        settings=dataclasses.replace(
            front_back.RECIPE.settings, epochs=1, head_epochs=0, batch_size=32
        ),
    )
    monkeypatch.setattr(front_back, "RECIPE", recipe)
    return tmp_path


def hold_out(*arguments: object) -> str:
    out = io.StringIO()
    call_command("hold_out_designs", *map(str, arguments), stdout=out)
    return out.getvalue()


def refusal(*arguments: object) -> str:
    with pytest.raises(CommandError) as refused:
        hold_out(*arguments)
    assert refused.value.returncode == 2
    return str(refused.value)


def test_each_design_is_measured_once_and_what_was_measured_is_kept(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A third of the cards to learn from, not nine tenths: fewer have to be drawn.
    monkeypatch.setattr(drawn, "HELD_OUT_SHARE", 3)
    said = hold_out("--cards", 36)
    last = said.strip().splitlines()[-3:]
    assert [line.split()[0] for line in last] == ["alpha", "beta", "all"]
    kept = small / "runs" / "held_out" / "alpha-seed0" / "held_out.json"
    result = json.loads(kept.read_text())["result"]
    assert len(result["right"]) + len(result["wrong"]) == 6
    assert all("alpha" in name for name in result["right"] + result["wrong"])
    before = kept.stat().st_mtime_ns
    again = hold_out("--cards", 36)
    assert again.strip().splitlines()[-3:] == last
    assert "epoch" not in again
    assert kept.stat().st_mtime_ns == before


def test_it_says_what_is_missing_where_the_designs_are_not_here(
    tmp_path: Path, settings: Any
) -> None:
    settings.DATASETS_ROOT = tmp_path
    assert "Expected front_back.zip or front_back/ with at least 2 designs" in refusal()


def test_it_refuses_what_it_does_not_know(small: Path) -> None:
    assert "Expected some of the designs alpha, beta" in refusal("--designs", "gamma")
    assert "Expected one of the settings" in refusal("--set", "colour=red")
    assert "Expected --seeds of at least 0" in refusal("--seeds", -1)
    assert "Expected cards=120 or more" in refusal("--cards", 5)


def test_the_table_gives_each_design_its_interval_and_all_together() -> None:
    names = tuple(f"front/alpha_{index}.jpg" for index in range(100))
    results = [HeldOut("alpha", 0, names[:90], names[90:]), HeldOut("beta", 0, names, ())]
    lines = table(results).splitlines()
    assert "90.00%" in lines[1]
    assert "82.56% to  94.48%" in lines[1]
    assert "95.00%" in lines[3]
    assert lines[3].split()[-1] == "200"
