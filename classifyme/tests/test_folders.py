import os
import stat
from pathlib import Path

import pytest

from classifyme.folders import make_private, private_files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_and_those_above_it_are_made_for_their_owner(tmp_path: Path) -> None:
    make_private(tmp_path / "var/media")
    assert mode(tmp_path / "var") == mode(tmp_path / "var/media") == 0o700


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    folder.mkdir()
    folder.chmod(0o755)
    make_private(folder)
    assert mode(folder) == 0o755


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(FileExistsError):
        make_private(file)


def test_files_are_private_within_and_as_before_after(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with private_files():
            (tmp_path / "one").touch()
        (tmp_path / "two").touch()
    finally:
        os.umask(before)
    assert mode(tmp_path / "one") == 0o600
    assert mode(tmp_path / "two") == 0o644
