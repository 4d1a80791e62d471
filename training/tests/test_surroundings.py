"""What is recorded of the code: its commit, whether it was changed, or that nobody knows."""

import subprocess
from pathlib import Path

import pytest

from training import surroundings
from training.surroundings import Code


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=no"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("print(1)\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_a_clean_checkout_has_a_revision(checkout: Path) -> None:
    assert surroundings.code(checkout) == Code(git(checkout, "rev-parse", "HEAD"), False)


def test_a_change_or_a_new_file_makes_it_changed(checkout: Path) -> None:
    (checkout / "recipe.py").write_text("")
    assert surroundings.code(checkout).changed is True


def test_outside_of_a_checkout_there_is_none(tmp_path: Path) -> None:
    assert surroundings.code(tmp_path) == Code(None, None)


def test_a_folder_inside_of_somebody_elses_checkout_has_none(checkout: Path) -> None:
    (checkout / "unpacked").mkdir()
    assert surroundings.code(checkout / "unpacked") == Code(None, None)


def test_without_git_there_is_none(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert surroundings.code(checkout) == Code(None, None)


def test_a_hooks_idea_of_the_repository_is_not_ours(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    git(elsewhere, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(elsewhere / ".git"))
    assert surroundings.code(checkout).revision is not None


def test_versions_are_those_of_what_is_installed() -> None:
    versions = surroundings.library_versions()
    assert {"python", "keras", "numpy"} <= set(versions)
    assert all(versions.values())
