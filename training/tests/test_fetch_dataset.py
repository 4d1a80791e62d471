"""`manage.py fetch_dataset`, against a local server that drops, stalls and answers wrongly."""

import hashlib
import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from classifier.imaging import InputSpec
from training.datasets import cifar10, disk, sources
from training.datasets.dataset import DatasetError
from training.datasets.downloads import DownloadError, Patience, RemoteFile, download
from training.management.commands import fetch_dataset
from training.tests.folders import archive, classes, folder
from training.tests.sources import (
    TINY,
    FileServer,
    batch_files,
    picture_files,
    serving,
    tiny_splits,
    write_tar,
    write_zip,
)

CONTENT = bytes(range(256)) * 4_000
PATIENT = Patience(timeout=5, pauses=(0, 0, 0))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(CONTENT) as server:
        yield server


def fetch(server: FileServer, target: Path, patience: Patience = PATIENT) -> list[str]:
    """Download what the server is believed to have; return what was said on the way."""
    said: list[str] = []
    remote = RemoteFile(server.url, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    download(remote, target, progress=lambda done: None, say=said.append, patience=patience)
    return said


def ranges(server: FileServer) -> list[str | None]:
    return [request.get("range") for request in server.requests]


# -- downloads ------------------------------------------------------------------------------------


def test_a_download_arrives_whole_and_leaves_nothing_else(
    server: FileServer, tmp_path: Path
) -> None:
    fetch(server, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_there_and_right_is_not_downloaded_again(
    server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    fetch(server, tmp_path / "file")

    assert server.requests == []


def test_dropped_connections_are_resumed_where_they_broke(
    server: FileServer, tmp_path: Path
) -> None:
    server.drops = [300_000, 100_000, 0, 0, 200_000]
    said = fetch(server, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == CONTENT
    assert ranges(server) == [
        None,
        "bytes=300000-",
        "bytes=400000-",
        "bytes=400000-",
        "bytes=400000-",
        "bytes=600000-",
    ]
    assert all(request.get("if-range") == '"first"' for request in server.requests[1:])
    assert said[0].startswith("The connection ended after 300,000 of 1,024,000 bytes; trying")


def test_without_any_headway_the_tries_come_to_an_end(server: FileServer, tmp_path: Path) -> None:
    server.drops = [300_000, 0, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match="run the command again to go on"):
        fetch(server, tmp_path / "file")
    assert len(server.requests) == 4

    server.drops = []
    fetch(server, tmp_path / "file")
    assert ranges(server)[4:] == ["bytes=300000-"]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_is_downloaded_from_in_full(
    server: FileServer, tmp_path: Path
) -> None:
    server.drops, server.ignores_range = [300_000], True
    fetch(server, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=300000-"]


def test_a_server_that_ignores_ranges_and_always_drops_is_given_up(
    server: FileServer, tmp_path: Path
) -> None:
    server.drops, server.ignores_range = [300_000] * 9, True
    with pytest.raises(DownloadError, match="ended after 300,000"):
        fetch(server, tmp_path / "file")
    assert len(server.requests) == 4


def test_another_edition_on_the_server_is_downloaded_in_full(
    server: FileServer, tmp_path: Path
) -> None:
    server.content, server.etag = bytes(len(CONTENT)), '"draft"'
    server.drops = [300_000, 0, 0, 0]
    with pytest.raises(DownloadError):
        fetch(server, tmp_path / "file")
    server.content, server.etag = CONTENT, '"first"'
    fetch(server, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.requests[-1]["if-range"] == '"draft"'


def test_a_part_of_unknown_origin_is_resumed_and_the_checksum_decides(
    server: FileServer, tmp_path: Path
) -> None:
    part = tmp_path / "file.part"
    part.write_bytes(CONTENT[:500_000])
    assert fetch(server, tmp_path / "file") == []
    assert ranges(server) == ["bytes=500000-"]

    (tmp_path / "file").unlink()
    part.write_bytes(b"of something else")
    said = fetch(server, tmp_path / "file")
    assert "starting over" in said[0]
    assert ranges(server)[1:] == ["bytes=17-", None]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_thrown_away(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    fetch(server, tmp_path / "file")

    assert ranges(server) == [None]


def test_a_file_with_another_checksum_is_refused_and_deleted(
    server: FileServer, tmp_path: Path
) -> None:
    server.content = bytes(len(CONTENT))
    with pytest.raises(DownloadError, match="does not have the expected SHA-256"):
        fetch(server, tmp_path / "file")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [17, 2_000_000])
@pytest.mark.parametrize("sends_length", [True, False])
def test_a_file_of_another_size_is_refused(
    server: FileServer, tmp_path: Path, size: int, sends_length: bool
) -> None:
    server.content, server.sends_length = b"x" * size, sends_length
    with pytest.raises(DownloadError) as caught:
        fetch(server, tmp_path / "file")

    assert any(
        sentence in str(caught.value)
        for sentence in ("leads to something else", "file ends before", "connection ended after")
    )
    assert not (tmp_path / "file").exists()


def test_a_missing_file_is_refused_at_once(server: FileServer, tmp_path: Path) -> None:
    server.statuses = [404]
    with pytest.raises(DownloadError, match="answered 404 Not Found"):
        fetch(server, tmp_path / "file")
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.statuses = [503, 429, 416]
    said = fetch(server, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == CONTENT
    assert said[0] == "The server answered 503 Service Unavailable; trying again in 0 s."


def test_a_server_that_falls_silent_is_left(server: FileServer, tmp_path: Path) -> None:
    server.drops, server.stalls = [1_000, 0], threading.Event()
    # Time enough for the first bytes to come on a busy machine.
    with pytest.raises(DownloadError, match="does not answer in time"):
        fetch(server, tmp_path / "file", Patience(timeout=2, pauses=(0,)))
    server.stalls.set()

    assert (tmp_path / "file.part").read_bytes() == CONTENT[:1_000]


def test_no_server_at_all_is_said(server: FileServer, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server.url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(DownloadError, match="no connection to the server"):
            fetch(server, tmp_path / "file", Patience(timeout=1, pauses=(0,)))


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://example.org/a", "http://", "cifar", "http://a b/", "http:[/"],
)
def test_only_http_urls_are_taken(server: FileServer, tmp_path: Path, url: str) -> None:
    server.url = url
    with pytest.raises(DownloadError, match="Expected a URL that starts with http"):
        fetch(server, tmp_path / "file")


def test_a_full_disk_is_said_and_gives_no_file(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.part").symlink_to("/dev/full")
    with pytest.raises(DatasetError, match=r"The disk is full: .* DATASETS_ROOT"):
        fetch(server, tmp_path / "file")

    assert not (tmp_path / "file").exists()


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def root(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty DATASETS_ROOT; the command expects a tiny CIFAR-10."""
    settings.DATASETS_ROOT = tmp_path / "datasets"
    monkeypatch.setattr(fetch_dataset.Command, "counts", TINY)
    return tmp_path / "datasets"


@pytest.fixture
def official(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """A server with what the command takes for the official archive."""
    server.content = write_tar(tmp_path / "a.tar.gz", batch_files(tiny_splits())).read_bytes()
    digest = hashlib.sha256(server.content).hexdigest()
    remote = RemoteFile(server.url, len(server.content), digest)
    monkeypatch.setattr(fetch_dataset.Command, "official", remote)
    return server


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(*arguments: str, out: io.StringIO | None = None) -> str:
    out = out or io.StringIO()
    call_command("fetch_dataset", "cifar10", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def failed(*arguments: str) -> tuple[int, str]:
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    return caught.value.returncode, str(caught.value)


def test_the_command_downloads_prepares_and_tidies_up(root: Path, official: FileServer) -> None:
    said = run()

    dataset = cifar10.load(root)
    assert (len(dataset.train), len(dataset.test)) == (50, 20)
    assert f"CIFAR-10 is ready: {root / 'cifar10.npz'}" in said
    assert "Reading: 70 of 70 pictures, 100%" in said
    assert [path.name for path in root.iterdir()] == ["cifar10.npz"]


def test_a_zip_of_class_folders_gives_what_the_download_gives(
    root: Path, official: FileServer, tmp_path: Path
) -> None:
    run()
    downloaded = cifar10.load(root).digest
    path = write_zip(tmp_path / "pictures.zip", picture_files(tiny_splits()))
    run("--from", str(path), "--force")

    assert cifar10.load(root).digest == downloaded
    assert len(official.requests) == 1
    assert path.is_file()


def test_what_is_there_is_left_alone_unless_forced(root: Path, official: FileServer) -> None:
    run("--url", official.url)
    assert "is there already" in run("--url", official.url)
    assert len(official.requests) == 1

    run("--url", official.url, "--force")
    assert len(official.requests) == 2


def test_a_damaged_prepared_file_is_fetched_again(root: Path, official: FileServer) -> None:
    root.mkdir()
    cifar10.prepared_file(root).write_bytes(b"nonsense")

    assert "damaged; fetching it again" in run()
    assert len(cifar10.load(root).train) == 50


def test_an_interrupted_download_goes_on_where_it_was(root: Path, official: FileServer) -> None:
    official.drops, official.interrupts = [10_000], True
    code, sentence = failed()
    assert code == 130
    assert sentence.startswith("Interrupted. What was downloaded is kept")
    assert (root / "cifar-10-python.tar.gz.part").stat().st_size == 10_000

    run()
    assert ranges(official) == [None, "bytes=10000-"]
    assert len(cifar10.load(root).train) == 50


def test_a_wrong_archive_is_refused_and_the_former_one_stays(
    root: Path, official: FileServer, tmp_path: Path
) -> None:
    run()
    before = cifar10.load(root).digest
    files = [each for each in picture_files(tiny_splits(1)) if "/frog/" not in each[0]]
    path = write_zip(tmp_path / "nine.zip", iter(files))

    assert failed("--from", str(path), "--force") == (
        2,
        "Expected 5 train pictures of every class. Received: frog 0",
    )
    assert cifar10.load(root).digest == before


def test_what_the_server_gives_wrongly_ends_with_code_2(root: Path, official: FileServer) -> None:
    official.content = bytes(len(official.content))
    code, sentence = failed()

    assert code == 2
    assert "does not have the expected SHA-256" in sentence
    assert list(root.iterdir()) == []


def test_an_absent_archive_ends_with_code_2(root: Path, tmp_path: Path) -> None:
    absent = tmp_path / "absent.zip"

    assert failed("--from", str(absent)) == (2, f"There is no {absent}.")


def test_a_folder_that_cannot_be_made_ends_with_code_2(root: Path, official: FileServer) -> None:
    root.write_text("a file stands where the folder shall be")
    code, sentence = failed()

    assert code == 2
    assert f"{root} could not be written" in sentence


def test_two_at_once_do_not_write_over_each_other(root: Path, official: FileServer) -> None:
    with disk.alone_in(root):
        code, sentence = failed()

    assert code == 2
    assert "Another process is fetching" in sentence


def test_source_and_url_together_make_no_sense(root: Path) -> None:
    with pytest.raises(CommandError, match="not allowed with"):
        run("--from", "a.zip", "--url", "http://example.org/")


def test_on_a_terminal_progress_is_one_line_that_is_rewritten(
    root: Path, official: FileServer
) -> None:
    said = run(out=Terminal())

    assert "\rReading: 70 of 70 pictures, 100%\x1b[K\n" in said


def test_without_tiny_counts_the_command_expects_all_of_cifar10() -> None:
    command = fetch_dataset.Command
    assert (command.counts.train, command.counts.test, command.counts.total) == (5000, 1000, 60000)
    assert command.official.url == "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    assert command.official.sha256.startswith("6d958be074577803")


# -- class folders of one's own -------------------------------------------------------------------


def fetched(*arguments: str) -> str:
    out = io.StringIO()
    call_command("fetch_dataset", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def fetch_failed(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        fetched(*arguments)
    assert caught.value.returncode == 2
    return str(caught.value)


@pytest.fixture
def pets() -> dict[str, bytes]:
    return classes({"cat": 12, "dog": 12})


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_class_folders_are_brought_to_where_training_finds_them(
    kind: str, root: Path, pets: dict[str, bytes], tmp_path: Path
) -> None:
    given = archive(tmp_path / "a.zip", pets) if kind == "zip" else folder(tmp_path / "a", pets)
    said = fetched("pets", "--from", str(given))

    assert f"pets is ready: {root / 'pets.zip'} (24 pictures of 2 classes)" in said
    loaded, direct = (
        sources.load(source, root=root, input=InputSpec(8, 8)) for source in ("pets", str(given))
    )
    assert (loaded.name, loaded.digest) == ("pets", direct.digest)


def test_class_folders_that_are_there_stay_unless_forced(
    root: Path, pets: dict[str, bytes], tmp_path: Path
) -> None:
    fetched("pets", "--from", str(archive(tmp_path / "a.zip", pets)))
    fewer = archive(tmp_path / "b.zip", classes({"cat": 5, "dog": 5}))

    assert "is there already" in fetched("pets", "--from", str(fewer))
    assert "pets is there already" in fetched("pets")
    assert (root / "pets.zip").read_bytes() == (tmp_path / "a.zip").read_bytes()
    assert "10 pictures" in fetched("pets", "--from", str(fewer), "--force")
    assert "stands where it would be brought to" in fetch_failed(
        "pets", "--from", str(root / "pets.zip"), "--force"
    )
    assert (root / "pets.zip").read_bytes() == fewer.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["flowers"], "Only cifar10 can be downloaded. Give a .zip or folder"),
        (["flowers", "--url", "http://example.org/"], "Only cifar10 can be downloaded"),
        (["../flowers", "--from", "{zip}"], "Expected a name of lower-case letters and digits"),
        (["flowers", "--from", "{absent}"], "There is no "),
        (["flowers", "--from", "{one}"], "Expected pictures of at least two classes"),
    ],
)
def test_class_folders_that_cannot_be_fetched_end_with_code_2(
    arguments: list[str], expected: str, root: Path, pets: dict[str, bytes], tmp_path: Path
) -> None:
    given = {
        "zip": archive(tmp_path / "a.zip", pets),
        "absent": tmp_path / "absent.zip",
        "one": archive(tmp_path / "one.zip", classes({"cat": 5})),
    }

    assert expected in fetch_failed(*(each.format(**given) for each in arguments))
    assert not list(root.glob("*.zip"))
