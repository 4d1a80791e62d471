"""Fetched once by all processes of a machine, whole or not at all, and never too many."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from classifier.bundle_cache import BundleCache
from classifier.bundles import Bundle, BundleError
from classifier.tests.bundles import make_bundle

ROOT = Path(__file__).resolve().parents[2]


class Shelf:
    """Bundles that are kept in a folder as if it were far away, and what was read of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.read: list[str] = []

    def add(self, seed: int = 0) -> Bundle:
        made = make_bundle(self.root / "new", seed=seed)
        made.root.rename(self.root / made.digest)
        return Bundle.open(self.root / made.digest)

    def reader(self, digest: str) -> Callable[[str, Path, int], None]:
        def read(path: str, target: Path, most: int) -> None:
            self.read.append(path)
            shutil.copyfile(self.root / digest / path, target)

        return read


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def cache(tmp_path: Path) -> BundleCache:
    return BundleCache(tmp_path / "cache", most_bytes=10**9)


def nothing() -> frozenset[str]:
    return frozenset()


def get(cache: BundleCache, shelf: Shelf, digest: str) -> Bundle:
    return cache.get(digest, shelf.reader(digest), keep=nothing)


def cached(cache: BundleCache) -> set[str]:
    """The bundles in the cache; nothing but its locks may lie beside them."""
    names = {path.name for path in cache.folder("x").parent.iterdir()}
    assert not {name for name in names - {".locks"} if name.startswith(".")}
    return names - {".locks"}


def small_cache(tmp_path: Path, *bundles: Bundle) -> BundleCache:
    """A cache that has just enough room for these."""
    sizes = [p.stat().st_size for b in bundles for p in b.root.rglob("*") if p.is_file()]
    return BundleCache(tmp_path / "cache", most_bytes=sum(sizes) + 100)


# Fetching


def test_a_bundle_is_fetched_once_with_its_manifest_first(cache: BundleCache, shelf: Shelf) -> None:
    bundle = shelf.add()

    first = get(cache, shelf, bundle.digest)
    second = get(cache, shelf, bundle.digest)

    assert first.digest == second.digest == bundle.digest
    assert first.root == cache.folder(bundle.digest)
    assert shelf.read[0] == "manifest.json"
    assert len(shelf.read) == 1 + len(bundle.manifest.files)
    assert cached(cache) == {bundle.digest}


def test_threads_that_want_the_same_bundle_fetch_it_once(cache: BundleCache, shelf: Shelf) -> None:
    bundle = shelf.add()
    got: list[str] = []
    threads = [
        threading.Thread(target=lambda: got.append(get(cache, shelf, bundle.digest).digest))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert got == [bundle.digest] * 6
    assert len(shelf.read) == 1 + len(bundle.manifest.files)


FETCH = """
import shutil, sys, time
from pathlib import Path
from classifier.bundle_cache import BundleCache
root, shelf, digest = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
def read(path, target, most):
    time.sleep(0.05)
    shutil.copyfile(shelf / digest / path, target)
    print(path)
bundle = BundleCache(root, 10**9).get(digest, read, keep=frozenset)
assert bundle.root == root / digest
"""


def test_processes_that_want_the_same_bundle_fetch_it_once(
    cache: BundleCache, shelf: Shelf
) -> None:
    bundle = shelf.add()
    command = [sys.executable, "-c", FETCH, str(cache.folder("x").parent), str(shelf.root)]
    processes = [
        subprocess.Popen([*command, bundle.digest], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate(timeout=60)[0].split() for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(map(len, said)) == [0, 0, 1 + len(bundle.manifest.files)]


def test_what_a_killed_process_left_is_not_taken_for_a_bundle(
    cache: BundleCache, shelf: Shelf
) -> None:
    bundle = shelf.add()
    left = cache.folder(f".incoming-{bundle.digest}")
    left.mkdir(parents=True)
    (left / "manifest.json").write_text("half")
    other = cache.folder(".incoming-other")
    other.mkdir()

    get(cache, shelf, bundle.digest).verify()

    assert cached(cache) == {bundle.digest}


# Damage


@pytest.mark.parametrize("damage", ["change", "cut", "remove", "add", "link", "manifest", "empty"])
def test_a_damaged_copy_is_fetched_again(
    cache: BundleCache, shelf: Shelf, damage: str, tmp_path: Path
) -> None:
    bundle = shelf.add()
    folder = get(cache, shelf, bundle.digest).root
    model = folder / "model.onnx"
    if damage == "change":
        model.write_bytes(model.read_bytes()[::-1])
    elif damage == "cut":
        model.write_bytes(model.read_bytes()[:-1])
    elif damage == "remove":
        model.unlink()
    elif damage == "add":
        (folder / "report" / "more.txt").write_text("x")
    elif damage == "link":
        model.rename(tmp_path / "elsewhere")
        model.symlink_to(tmp_path / "elsewhere")
    elif damage == "manifest":
        (folder / "manifest.json").write_bytes(
            shelf.add(seed=2).root.joinpath("manifest.json").read_bytes()
        )
    else:
        shutil.rmtree(folder)
        folder.mkdir()
    shelf.read.clear()

    get(cache, shelf, bundle.digest).verify()

    assert "model.onnx" in shelf.read
    assert cached(cache) == {bundle.digest}


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("change", "file_changed"),
        ("cut", "file_changed"),
        ("manifest", "file_changed"),
        ("nonsense", "manifest_invalid"),
    ],
)
def test_what_is_damaged_where_it_is_kept_is_refused_and_leaves_nothing(
    cache: BundleCache, shelf: Shelf, damage: str, code: str
) -> None:
    bundle = shelf.add()
    kept = shelf.root / bundle.digest
    content = (kept / "model.onnx").read_bytes()
    if damage == "change":
        (kept / "model.onnx").write_bytes(content[::-1])
    elif damage == "cut":
        (kept / "model.onnx").write_bytes(content[:-1])
    elif damage == "manifest":
        shutil.copyfile(shelf.add(seed=2).root / "manifest.json", kept / "manifest.json")
    else:
        (kept / "manifest.json").write_text("[]")

    with pytest.raises(BundleError) as caught:
        get(cache, shelf, bundle.digest)

    assert caught.value.code == code
    assert cached(cache) == set()


def test_a_disk_that_cannot_be_written_is_said(tmp_path: Path, shelf: Shelf) -> None:
    bundle = shelf.add()
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(BundleError, match="cannot be kept in") as caught:
        get(BundleCache(tmp_path / "file" / "below", 10**9), shelf, bundle.digest)

    assert caught.value.code == "disk"


# Room


def test_what_was_not_used_for_longest_makes_room(tmp_path: Path, shelf: Shelf) -> None:
    one, two, three = (shelf.add(seed) for seed in (1, 2, 3))
    cache = small_cache(tmp_path, one, two)
    for bundle in (one, two):
        get(cache, shelf, bundle.digest)
    age(cache, two.digest, seconds=100)

    get(cache, shelf, three.digest)

    assert cached(cache) == {one.digest, three.digest}


def test_what_is_held_stays_and_goes_when_it_is_let_go(tmp_path: Path, shelf: Shelf) -> None:
    one, two, three = (shelf.add(seed) for seed in (1, 2, 3))
    cache = small_cache(tmp_path, one)
    held = get(cache, shelf, one.digest)

    get(cache, shelf, two.digest)
    assert one.digest in cached(cache)
    held.verify()

    del held
    get(cache, shelf, three.digest)
    assert cached(cache) == {three.digest}


def test_what_another_process_holds_stays(tmp_path: Path, shelf: Shelf) -> None:
    one, two = shelf.add(1), shelf.add(2)
    cache = small_cache(tmp_path, one)
    code = f"{FETCH}\nprint('held', flush=True)\nsys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path / "cache"), str(shelf.root), one.digest]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        while other.stdout.readline() not in ("held\n", ""):
            pass
        get(cache, shelf, two.digest)
        assert cached(cache) == {one.digest, two.digest}
        other.communicate(timeout=30)
    assert other.returncode == 0


def test_what_the_caller_names_stays(tmp_path: Path, shelf: Shelf) -> None:
    one, two = shelf.add(1), shelf.add(2)
    cache = small_cache(tmp_path, one)
    get(cache, shelf, one.digest)

    cache.get(two.digest, shelf.reader(two.digest), keep=lambda: {one.digest})

    assert cached(cache) == {one.digest, two.digest}


def test_a_disk_without_room_is_said_after_all_that_may_go_is_gone(
    tmp_path: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = shelf.add(1), shelf.add(2)
    cache = BundleCache(tmp_path / "cache", most_bytes=10**9)
    get(cache, shelf, one.digest)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))

    with pytest.raises(BundleError, match=r"Received: 10$") as caught:
        get(cache, shelf, two.digest)

    assert caught.value.code == "disk"
    assert cached(cache) == set()


def age(cache: BundleCache, digest: str, *, seconds: float) -> None:
    before = cache.folder(digest).stat().st_mtime - seconds
    os.utime(cache.folder(digest), (before, before))
