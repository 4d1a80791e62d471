"""`manage.py search_architectures`: a whole search, what is kept, and processes of their own."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from classifier.imaging import InputSpec
from training import drawing
from training.architecture_search import heads, isolation
from training.architecture_search import result as kept_results
from training.architecture_search.asked import Asked
from training.architecture_search.asked import read as read_asked
from training.architecture_search.candidates import Candidate
from training.architecture_search.result import Refused
from training.architecture_search.series import Search, known_besides
from training.tests import small_backbone
from training.tests.pictures import colour_dataset
from training.tests.small_backbone import asked, result, unheard


@pytest.fixture(autouse=True)
def _small_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    small_backbone.make_known(monkeypatch)


# -- a whole search --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of three labels, and weights of `small`."""
    root = tmp_path_factory.mktemp("search")
    drawing.draw(root / "stripes", per_label=24, side=32)
    kernel = np.random.default_rng(0).normal(0, 0.2, (5, 5, 3, 6)).astype(np.float32)
    np.save(root / "small-weights.npy", kernel)
    return root


def search(folder: Path, *words: str) -> str:
    stdout = io.StringIO()
    given = ("--dataset", str(folder / "stripes"), "--output", str(folder / "out"))
    call_command("search_architectures", *given, *words, stdout=stdout, no_color=True)
    return stdout.getvalue()


def asked_words(folder: Path) -> tuple[str, ...]:
    weights = folder / "small-weights.npy"
    return (
        *("--backbones", "small", "baseline_cnn@16", "--sizes", "16", "32", "--frozen"),
        *("--weights", f"small={weights}", "small=imagenet", "--minutes", "0.0001"),
        *("--one-process", "--dense", "8", "--set", "learning_rate=0.02"),
    )


@pytest.fixture(scope="module")
def searched(folder: Path) -> tuple[Path, str]:
    """A search that is over, and what it said."""
    with pytest.MonkeyPatch.context() as patch:
        small_backbone.make_known(patch)
        patch.setattr(heads, "FEWEST_STEPS", 150)
        return folder / "out", search(folder, *asked_words(folder))


def test_each_is_measured_with_the_same_budget(searched: tuple[Path, str]) -> None:
    out, printed = searched
    found = json.loads((out / "search.json").read_text())
    rows = found["measured"]
    assert {(row["architecture"], row["size"], row["learns"]) for row in rows} == {
        ("small", 16, "head"),
        ("small", 32, "head"),
        ("baseline_cnn", 16, "all"),
    }
    (learnt_from,) = {row["learnt_from"] for row in rows}
    assert f"{learnt_from:,} training images" in found["conditions"]["Learnt from"]
    for row in rows:
        low, high = row["interval"]
        assert 0 <= low <= row["accuracy"] <= high <= 1
        assert row["milliseconds"]["median"] > 0
        assert row["serve_bytes"] > 100
        assert row["epochs"] == (150 if row["learns"] == "head" else 1)
        assert f"{row['accuracy'] * 100:.1f} %" in printed
    assert {tuple(row["features"]) for row in rows} == {(3, 3), (7, 7), (4, 4)}


def test_a_head_on_frozen_features_learns_to_tell_colours_apart(
    searched: tuple[Path, str],
) -> None:
    found = json.loads((searched[0] / "search.json").read_text())
    best = max(row["accuracy"] for row in found["measured"] if row["learns"] == "head")
    assert best > 0.8


def test_weights_that_cannot_be_had_are_reported_and_the_others_go_on(
    searched: tuple[Path, str],
) -> None:
    out, printed = searched
    failed = json.loads((out / "search.json").read_text())["not_measured"]
    assert len(failed) == 2
    assert all("could not be downloaded" in each["why"] for each in failed)
    assert "Not measured: small from ImageNet weights, 16x16 pixels" in printed


def test_the_report_stands_alone_and_tells_no_folder_of_this_machine(
    searched: tuple[Path, str], folder: Path
) -> None:
    out, printed = searched
    page = (out / "report.html").read_text()
    assert "<svg" in page
    assert "What the size of the pictures does" in page
    assert "src=" not in page
    assert "href=" not in page.replace("xlink:href=", "")
    assert "| backbone |" in (out / "search.md").read_text()
    assert (out / "accuracy_by_time.svg").read_text().startswith("<svg")
    assert (out / "accuracy_by_time.png").read_bytes().startswith(b"\x89PNG")
    for name in ("report.html", "search.md", "search.json", "accuracy_by_time.svg"):
        assert str(folder) not in (out / name).read_text()
    assert "Start from" in printed


def test_what_was_measured_is_not_trained_again(searched: tuple[Path, str], folder: Path) -> None:
    out, before = searched
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*/result.json")}
    assert len(kept) == 3
    printed = search(folder, *asked_words(folder))
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/result.json")} == kept
    assert printed.count("(measured before)") == 3
    assert "epoch" not in printed
    assert printed[printed.index("backbone ") :] == before[before.index("backbone ") :]


def test_a_search_that_measured_nothing_leaves_the_last_report_as_it_was(
    searched: tuple[Path, str], folder: Path
) -> None:
    out, _ = searched
    written = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    words = ("--backbones", "small", "--sizes", "16", "--weights", "imagenet", "--one-process")
    with pytest.raises(CommandError, match="report of an earlier search stays") as refusal:
        search(folder, *words)
    assert refusal.value.returncode == 1
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == written


def test_a_later_search_of_the_same_budget_shows_all_that_was_measured(
    searched: tuple[Path, str], folder: Path
) -> None:
    out, _ = searched
    all_rows = json.loads((out / "search.json").read_text())["measured"]
    like = asked_words(folder)[asked_words(folder).index("--minutes") :]
    printed = search(folder, "--backbones", "baseline_cnn@16", *like)
    assert json.loads((out / "search.json").read_text())["measured"] == all_rows
    assert "2 candidates were measured by earlier searches" in printed


def test_results_of_another_budget_are_not_shown_beside(
    searched: tuple[Path, str], folder: Path
) -> None:
    (kept,) = searched[0].glob("baseline_cnn-*/")
    wanted = read_asked(kept)
    other = dataclasses.replace(wanted, budget=dataclasses.replace(wanted.budget, seed=1))
    assert len(known_besides(Search([other], searched[0], _nothing), _same(wanted))) == 0
    changed = dataclasses.replace(wanted, candidate=Candidate("small", "none", 16, "all"))
    beside = known_besides(Search([changed], searched[0], _nothing), _same(wanted))
    assert {str(each.candidate.size) for each in beside} == {"16"}


def _nothing(folder: Path) -> None:
    raise AssertionError(folder)


def _same(wanted: Asked) -> Callable[[InputSpec], str]:
    """Return the digest of data that are the same at one size, and others at the next."""
    return lambda spec: wanted.source.digest if spec.width == wanted.candidate.size else "other"


def test_no_network_is_kept(searched: tuple[Path, str]) -> None:
    kept = {path.name for path in searched[0].rglob("*") if path.is_file()}
    assert not kept & {"checkpoint.npz", "best.npz", "model.onnx", "model.keras"}


# -- processes -------------------------------------------------------------------------------------


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_what_needs_no_network_is_answered_without_loading_tensorflow() -> None:
    text = (
        "import sys, django; from django.core.management import CommandError, call_command\n"
        "django.setup(); call_command('search_architectures', '--list')\n"
        "try:\n"
        "    call_command('search_architectures', '--dataset', 'x', '--backbones', 'resnet49')\n"
        "except CommandError as error:\n"
        "    print(error, {'keras', 'tensorflow'} & set(sys.modules) or 'without')\n"
    )
    said: list[str] = []
    isolation.run_apart(program(text), said.append)
    assert any("Received: resnet49 without" in line for line in said)


def test_one_that_is_killed_is_reported_and_the_next_one_is_measured(tmp_path: Path) -> None:
    dataset = colour_dataset(30, 9)
    wanted = [asked(Candidate("small", "none", side, "all"), dataset) for side in (16, 32)]

    def measure(folder: Path) -> None:
        if "-16-" in folder.name:
            death = "import os, signal; print('so far', flush=True); os.kill(os.getpid(), 9)"
            isolation.run_apart(program(death), unheard)
        kept_results.write(folder, read_asked(folder), result("11", 1.0))

    outcomes = list(Search(wanted, tmp_path, measure).outcomes())
    assert [outcome.ended for outcome in outcomes] == ["killed", "measured"]
    assert "SIGKILL" in outcomes[0].reason
    assert "memory" in outcomes[0].reason
    assert outcomes[1].result == result("11", 1.0)


def test_a_program_that_refuses_gives_its_own_last_word() -> None:
    said: list[str] = []
    text = "import sys; print('one'); sys.exit('CommandError: There is no such thing.')"
    with pytest.raises(Refused, match=r"^There is no such thing\.$") as refusal:
        isolation.run_apart(program(text), said.append)
    assert not refusal.value.killed
    assert said == ["one"]


def test_a_search_that_is_interrupted_stops_the_program_that_it_started() -> None:
    said: list[str] = []

    def interrupt(line: str) -> None:
        said.append(line)
        raise KeyboardInterrupt

    text = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with pytest.raises(KeyboardInterrupt):
        isolation.run_apart(program(text), interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int(said[0]), signal.SIGCONT)


def test_each_candidate_runs_in_a_process_of_its_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Asked, "write", lambda self, folder: folder.mkdir(parents=True))
    stdout = io.StringIO()
    with pytest.raises(CommandError, match="Nothing could be measured") as refusal:
        call_command(
            *("search_architectures", "--dataset", str(folder / "stripes")),
            *("--backbones", "baseline_cnn@16", "--output", str(tmp_path / "out")),
            stdout=stdout,
        )
    assert refusal.value.returncode == 1
    assert "refused: baseline_cnn" in stdout.getvalue()
    assert "asked.json does not say what is asked" in stdout.getvalue()
    assert "Traceback" not in stdout.getvalue()
