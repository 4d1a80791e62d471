"""A bundle on disk: read strictly, verified wholly, written as it is read."""

import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier import bundles
from classifier.bundles import Bundle, BundleError, Fault, Label, Manifest, Role
from classifier.imaging import InputSpec
from classifier.lineage import Cost, Lineage, Made, Mean, Parent
from classifier.measured import (
    Acceptance,
    AcceptanceRule,
    Answered,
    Failure,
    MeasuredLevel,
    NotSure,
    Search,
)
from classifier.tests.bundles import make_bundle

Change = Callable[[dict[str, Any]], Any]
ONE = Parent("colours", "ab" * 32, "mean_colour")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle")


def rewrite(bundle: Bundle, change: Change) -> None:
    """Change the manifest as it stands on disk."""
    path = bundle.root / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def fault(path: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        Bundle.open(path)
    return caught.value


def put(*keys: Any, value: Any) -> Change:
    """Return a change that puts a value at a place in the manifest."""

    def change(manifest: Any) -> None:
        for key in keys[:-1]:
            manifest = manifest[key]
        manifest[keys[-1]] = value

    return change


MEASURED: dict[str, Any] = {
    "levels": {
        "high": MeasuredLevel(70, 0.7, 0.99, (0.92, 1.0)),
        "medium": MeasuredLevel(30, 0.3, 0.8, (0.63, 0.9)),
        "low": MeasuredLevel(0, 0.0, None, None),
    },
    "not_sure": NotSure(
        0.99, Search.CHOSEN, 0.6, Answered(120, 0.1, 0.99), test=Answered(100, 0.2, None)
    ),
    "acceptance": Acceptance(
        AcceptanceRule(recall=0.8),
        (Failure("recall", "red", 0.75, 0.8), Failure("ece", None, None, 0.05)),
    ),
}


# Reading what was written


def test_it_reads_what_it_wrote(bundle: Bundle) -> None:
    again = Bundle.open(bundle.root)

    assert again == bundle
    assert again.manifest.label_keys() == ("red", "green", "blue")
    assert again.manifest.input == InputSpec(height=32, width=32)
    assert Manifest.from_json(again.manifest.to_json()) == again.manifest
    again.verify()


def test_the_digest_is_that_of_the_manifest_and_the_same_each_time(
    bundle: Bundle, tmp_path: Path
) -> None:
    assert make_bundle(tmp_path / "twin").digest == bundle.digest
    assert make_bundle(tmp_path / "other", seed=1).digest != bundle.digest


def test_what_was_measured_is_read_as_it_was_written(tmp_path: Path) -> None:
    manifest = Bundle.open(make_bundle(tmp_path, **MEASURED).root).manifest

    assert {name: getattr(manifest, name) for name in MEASURED} == MEASURED
    assert manifest.acceptance is not None
    assert not manifest.acceptance.accepted
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize("search", [Search.UNREACHABLE, Search.TOO_FEW])
def test_a_threshold_that_was_not_found_is_said_to_be_none(tmp_path: Path, search: Search) -> None:
    manifest = make_bundle(tmp_path, not_sure=NotSure(0.99, search)).manifest

    assert manifest.not_sure == NotSure(0.99, search, None, None, None)


def test_a_manifest_of_schema_1_is_read_and_stays_as_it_is(bundle: Bundle) -> None:
    def older(manifest: dict[str, Any]) -> None:
        manifest["schema_version"] = 1
        for name in MEASURED:
            del manifest[name]

    rewrite(bundle, older)
    manifest = Bundle.open(bundle.root).manifest

    assert (manifest.levels, manifest.not_sure, manifest.acceptance) == ({}, None, None)
    assert manifest.to_json() == json.loads((bundle.root / "manifest.json").read_text())
    rewrite(bundle, put("not_sure", value=None))
    assert "'not_sure'" in fault(bundle.root).message


LINEAGES = (
    Lineage(Made.ENSEMBLE, (ONE, replace(ONE, weight=0.25)), Mean.PROBABILITIES),
    Lineage(Made.INT8, (ONE,), cost=Cost(100, 90, 88, 5, 3)),
    Lineage(Made.FLOAT16, (ONE,)),
)


@pytest.mark.parametrize("lineage", LINEAGES, ids=[each.made for each in LINEAGES])
def test_it_reads_of_which_versions_one_was_made(tmp_path: Path, lineage: Lineage) -> None:
    manifest = make_bundle(tmp_path, lineage=lineage).manifest

    assert manifest.schema_version == 3
    assert manifest.lineage == lineage


def test_a_bundle_without_lineage_is_written_so_that_those_before_can_read_it(
    bundle: Bundle,
) -> None:
    written = json.loads((bundle.root / "manifest.json").read_text())

    assert written["schema_version"] == 2
    assert "lineage" not in written
    assert bundle.manifest.lineage is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"made": "distilled"}, "one of ensemble, int8, float16"),
        ({"made": "ensemble", "mean": "logits"}, "a list of 2 to 64 items"),
        ({"mean": "logits"}, "there for an ensemble alone"),
        ({"cost": {}}, "an object with"),
        ({"cost": Cost(100, 90, 88, 5, 4).to_json()}, "agree on what both have right"),
        ({"cost": Cost(100, 101, 88, 5, 4).to_json()}, "a whole number from 0 to 100"),
        ({"of": []}, "a list of 1 to 1 items"),
        ({"of": [ONE.to_json() | {"digest": "ab"}]}, "64 hexadecimal digits"),
        ({"of": [ONE.to_json() | {"weight": 2}]}, "a number from 0 to 1"),
        ({"by": "me"}, "an object of"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_refuses_a_lineage_that_is_none(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    bundle = make_bundle(tmp_path, lineage=Lineage(Made.INT8, (ONE,)))
    rewrite(bundle, lambda manifest: manifest["lineage"].update(change))

    refused = fault(bundle.root)

    assert refused.code == Fault.MANIFEST_INVALID
    assert words in refused.message


def test_it_finds_files_by_their_role(bundle: Bundle) -> None:
    assert bundle.file("serve") == bundle.root / "model.onnx"
    assert bundle.root / "report/curves.png" in bundle.files(Role.REPORT)
    with pytest.raises(BundleError, match="one file of the role source"):
        bundle.file(Role.SOURCE)


def test_the_golden_examples_are_pictures_with_float32_probabilities(bundle: Bundle) -> None:
    green, red = bundle.golden()

    assert (green.name, red.name) == ("green", "red")
    assert red.content.startswith(b"\xff\xd8")
    assert red.probabilities.dtype == np.float32
    assert red.probabilities.shape == (3,)


@pytest.mark.parametrize(
    ("probability", "level"), [(0.8, "high"), (0.79, "medium"), (0.5, "medium"), (0.49, "low")]
)
def test_the_level_follows_the_thresholds_of_the_label(
    bundle: Bundle, probability: float, level: str
) -> None:
    assert bundle.manifest.level("red", probability) == level


def test_a_label_without_thresholds_gets_those_for_unmeasured_models(tmp_path: Path) -> None:
    manifest = make_bundle(tmp_path, confidence={}).manifest

    assert manifest.level("red", 0.85) == "medium"


# A manifest that is not as it must be

NONSENSE: list[tuple[str, Change, str]] = [
    ("no temperature", lambda m: m.pop("temperature"), "'temperature'"),
    ("an unknown field", put("surprise", value=1), "surprise"),
    ("a schema of text", put("schema_version", value="1"), "schema_version"),
    ("schema zero", put("schema_version", value=0), "schema_version"),
    ("a schema of True", put("schema_version", value=True), "schema_version"),
    ("a name with a slash", put("name", value="../etc"), "Received: '../etc'"),
    ("a name of blanks", put("name", value=" "), "lower-case"),
    ("a title of two lines", put("title", value="a\nb"), "one line"),
    ("a title too long", put("title", value="x" * 121), "120 characters"),
    ("one label", put("labels", value=[{"key": "a", "name": "A"}]), "2 to 10000 items"),
    ("double labels", put("labels", 1, "key", value="red"), "different from each other"),
    ("a label without a key", put("labels", 0, value={"name": "A"}), "'key'"),
    ("an empty label", put("labels", 0, "key", value=""), "a label's key"),
    ("labels that are no list", put("labels", value={"a": 1}), "a list"),
    ("a negative height", put("input", "height", value=-1), "In input"),
    ("four channels", put("input", "channels", value=4), "In input"),
    ("an unknown resize rule", put("input", "resize", value="stretch"), "In input"),
    ("a newer decoder", put("input", "decoder_version", value=99), "In input"),
    ("a temperature of zero", put("temperature", value=0), "from 0.01 to 100"),
    ("a temperature of text", put("temperature", value="1"), "Received: '1'"),
    ("a temperature of True", put("temperature", value=True), "Received: True"),
    ("a huge temperature", put("temperature", value=10**400), "temperature"),
    ("a threshold above one", put("confidence", "red", "high", value=1.1), "from 0 to 1"),
    ("a threshold below zero", put("confidence", "red", "medium", value=-0.1), "from 0 to"),
    ("medium above high", put("confidence", "red", "medium", value=0.9), "from 0 to 0.8"),
    (
        "thresholds of a label it has not",
        put("confidence", "pink", value={"high": 0.9, "medium": 0.5}),
        "pink",
    ),
    ("a tolerance that forgives all", put("tolerance", value=1), "tolerance"),
    ("no tolerance at all", put("tolerance", value=0), "tolerance"),
    ("metrics that are a list", put("metrics", value=[]), "an object"),
    ("an accuracy in percent", put("metrics", "test", "accuracy", value=93.5), "from 0 to 1"),
    ("a level that is none", put("levels", value={"sure": {}}), "levels"),
    ("one level of three", lambda m: m["levels"].pop("low"), "'low'"),
    ("a level right 101 % of the time", put("levels", "high", "precision", value=1.01), "from 0"),
    ("a level of half an answer", put("levels", "high", "answers", value=0.5), "whole number"),
    ("an interval of one end", put("levels", "high", "interval", value=[0.5]), "2 to 2 items"),
    ("an interval upside down", put("levels", "high", "interval", value=[0.9, 0.5]), "from 0.9"),
    ("an interval of nothing", put("levels", "low", "interval", value=[0, 1]), "interval"),
    ("a search of its own", put("not_sure", "search", value="guessed"), "chosen, unreachable"),
    ("a threshold above all", put("not_sure", "threshold", value=1.5), "threshold"),
    ("a threshold nobody chose", put("not_sure", "search", value="too_few"), "unless one"),
    ("no test of a threshold", put("not_sure", "test", value=None), "test"),
    ("a not sure of text", put("not_sure", value="0.5"), "not_sure"),
    ("an accepted that is no truth value", put("acceptance", "accepted", value=1), "accepted"),
    ("an accepted against its failures", put("acceptance", "accepted", value=True), "false"),
    ("a rule of its own", put("acceptance", "rule", "beauty", value=1), "beauty"),
    ("a rule in percent", put("acceptance", "rule", "recall", value=70), "from 0 to 1"),
    ("an unknown check", put("acceptance", "failures", 0, "check", value="x"), "precision, rec"),
    ("a failure without a limit", put("acceptance", "failures", 0, value={}), "'limit'"),
    ("a NUL in a text", put("recipe", "command", value="a\x00b"), "NUL"),
    ("a lone surrogate", put("recipe", "command", value="\ud800"), "surrogates"),
    ("a library without a version", put("libraries", "onnx", value=None), "libraries"),
    ("a time without a zone", put("created", value="2026-01-02T03:04:05"), "time zone"),
    ("a time that is none", put("created", value="yesterday"), "ISO 8601"),
    ("files without a network", put("files", value=[]), "files"),
    ("a negative size", put("files", 0, "bytes", value=-1), "whole number from 0"),
    ("half a byte", put("files", 0, "bytes", value=1.5), "whole number"),
    ("a short digest", put("files", 0, "sha256", value="abc"), "64 hexadecimal"),
    ("an unknown role", put("files", 0, "role", value="virus"), "Received: 'virus'"),
    ("another file's role", put("files", 0, "role", value="serve"), "role of golden"),
    ("a path upwards", put("files", 0, "path", value="golden/../../x.jpg"), "a file's path"),
    ("a path to the parent", put("files", 0, "path", value="golden/.."), "a file's path"),
    ("an absolute path", put("files", 0, "path", value="/etc/passwd"), "a file's path"),
    ("a path with backslashes", put("files", 0, "path", value="golden\\x.jpg"), "a file's path"),
    ("a hidden file", put("files", 0, "path", value="golden/.x"), "a file's path"),
    ("a file out of place", put("files", 0, "path", value="setup.py"), "a file's path"),
    ("a path that is a number", put("files", 0, "path", value=1), "a file's path"),
]


@pytest.mark.parametrize(
    ("change", "words"), [case[1:] for case in NONSENSE], ids=[case[0] for case in NONSENSE]
)
def test_it_refuses_a_manifest_with(tmp_path: Path, change: Change, words: str) -> None:
    bundle = make_bundle(tmp_path, **MEASURED)
    rewrite(bundle, change)

    refused = fault(bundle.root)

    assert refused.code == Fault.MANIFEST_INVALID
    assert words in refused.message
    assert "Received: " in refused.message


def test_it_refuses_a_file_that_is_listed_twice(bundle: Bundle) -> None:
    rewrite(bundle, lambda m: m["files"].append(m["files"][0]))

    assert "different from each other" in fault(bundle.root).message


def test_it_refuses_a_newer_schema_and_says_what_to_do(bundle: Bundle) -> None:
    rewrite(bundle, put("schema_version", value=4))

    refused = fault(bundle.root)

    assert refused.code == Fault.SCHEMA_NEWER
    assert "Update ClassifyMe first" in refused.message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"\xff\xfe{}",
        b"[]",
        b"null",
        b'{"name": "a", "name": "b"}',
        b'{"temperature": NaN}',
        b'{"temperature": -Infinity}',
        b"[" * 100_000,
        b'{"n": ' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "text", "utf16", "list", "null", "double", "nan", "inf", "deep", "digits"],
)
def test_it_refuses_a_manifest_that_is_no_json_object(bundle: Bundle, content: bytes) -> None:
    (bundle.root / "manifest.json").write_bytes(content)

    assert fault(bundle.root).code == Fault.MANIFEST_INVALID


def test_it_refuses_a_number_too_large_for_a_float(bundle: Bundle) -> None:
    path = bundle.root / "manifest.json"
    path.write_text(path.read_text().replace('"loss": 0.2', '"loss": 1e999'))

    assert "finite" in fault(bundle.root).message


def test_it_refuses_a_manifest_too_large_to_read(bundle: Bundle) -> None:
    with (bundle.root / "manifest.json").open("ab") as file:
        file.truncate(5_000_000)

    assert "4000000 bytes" in fault(bundle.root).message


def test_it_refuses_a_folder_without_a_manifest(tmp_path: Path) -> None:
    assert fault(tmp_path).code == Fault.NOT_A_BUNDLE
    assert fault(tmp_path / "nowhere").code == Fault.NOT_A_BUNDLE


def test_it_refuses_a_manifest_that_is_a_link(bundle: Bundle, tmp_path: Path) -> None:
    moved = (bundle.root / "manifest.json").rename(tmp_path / "elsewhere.json")
    (bundle.root / "manifest.json").symlink_to(moved)

    assert fault(bundle.root).code == Fault.FILE_UNSAFE


# Verifying the files


def unverified(bundle: Bundle) -> BundleError:
    with pytest.raises(BundleError) as caught:
        bundle.verify()
    return caught.value


def test_it_notices_a_changed_file_of_the_same_size(bundle: Bundle) -> None:
    path = bundle.root / "report/model_card.md"
    path.write_bytes(path.read_bytes().swapcase())

    refused = unverified(bundle)

    assert refused.code == Fault.FILE_CHANGED
    assert "report/model_card.md with SHA-256" in refused.message


def test_it_notices_a_file_of_another_size(bundle: Bundle) -> None:
    (bundle.root / "model.onnx").write_bytes(b"short")

    assert "bytes of model.onnx. Received: 5" in unverified(bundle).message


def test_it_notices_a_missing_file(bundle: Bundle) -> None:
    (bundle.root / "golden/red.jpg").unlink()

    assert unverified(bundle).code == Fault.FILE_MISSING


@pytest.mark.parametrize("place", ["model.keras", "extra.py", "report/deep/er.txt", ".hidden"])
def test_it_notices_a_file_that_is_not_listed(bundle: Bundle, place: str) -> None:
    (bundle.root / place).parent.mkdir(exist_ok=True)
    (bundle.root / place).write_bytes(b"x")

    refused = unverified(bundle)

    assert refused.code == Fault.FILE_UNLISTED
    assert place in refused.message


def test_it_refuses_a_file_replaced_by_a_link_to_the_same_bytes(
    bundle: Bundle, tmp_path: Path
) -> None:
    moved = (bundle.root / "model.onnx").rename(tmp_path / "moved.onnx")
    (bundle.root / "model.onnx").symlink_to(moved)

    assert unverified(bundle).code == Fault.FILE_UNSAFE


def test_it_refuses_a_folder_replaced_by_a_link(bundle: Bundle, tmp_path: Path) -> None:
    moved = (bundle.root / "golden").rename(tmp_path / "golden")
    (bundle.root / "golden").symlink_to(moved, target_is_directory=True)

    assert unverified(bundle).code == Fault.FILE_UNSAFE


def test_it_refuses_a_pipe(bundle: Bundle) -> None:
    os.mkfifo(bundle.root / "report/pipe")

    assert unverified(bundle).code == Fault.FILE_UNSAFE


# Golden examples


def regolden(bundle: Bundle, **outputs: Any) -> Bundle:
    """Write other golden outputs and a manifest that lists them."""
    np.savez(bundle.root / "golden/outputs.npz", allow_pickle=True, **outputs)
    return rewritten(bundle)


def rewritten(bundle: Bundle) -> Bundle:
    manifest = bundle.manifest
    description = bundles.Description(
        name=manifest.name,
        title=manifest.title,
        architecture=manifest.architecture,
        labels=manifest.labels,
        input=manifest.input,
    )
    return bundles.write(bundle.root, description)


ROW = np.array([0.2, 0.3, 0.5], dtype=np.float32)


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (ROW.astype(np.float64), Fault.GOLDEN_INVALID),
        (ROW[:2], Fault.GOLDEN_INVALID),
        (ROW * np.float32("nan"), Fault.GOLDEN_INVALID),
        (np.array([object()] * 3), Fault.GOLDEN_INVALID),
    ],
    ids=["float64", "two classes", "not finite", "pickled"],
)
def test_it_refuses_a_golden_output_that_is(bundle: Bundle, output: Any, code: Fault) -> None:
    with pytest.raises(BundleError) as caught:
        regolden(bundle, red=output, green=ROW).golden()

    assert caught.value.code == code


def test_it_refuses_a_golden_picture_without_an_output(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="'green' alone"):
        regolden(bundle, red=ROW).golden()


def test_it_refuses_outputs_that_are_no_archive(bundle: Bundle) -> None:
    (bundle.root / "golden/outputs.npz").write_bytes(b"PK nonsense")

    with pytest.raises(BundleError) as caught:
        rewritten(bundle).golden()
    assert caught.value.code == Fault.GOLDEN_INVALID


def test_it_refuses_a_bundle_without_golden_pictures(bundle: Bundle) -> None:
    for path in bundle.files(Role.GOLDEN):
        path.unlink()

    with pytest.raises(BundleError) as caught:
        rewritten(bundle).golden()
    assert caught.value.code == Fault.GOLDEN_MISSING


# Writing


def test_writing_refuses_a_file_that_has_no_place(bundle: Bundle) -> None:
    (bundle.root / "notes.txt").write_text("x")

    with pytest.raises(BundleError, match=r"Received: notes\.txt"):
        rewritten(bundle)


def test_writing_refuses_what_reading_would(bundle: Bundle) -> None:
    before = (bundle.root / "manifest.json").read_bytes()

    description = bundles.Description(
        name="colours",
        title="",
        architecture="x",
        labels=(Label("a", "A"), Label("b", "B")),
        input=InputSpec(height=1, width=1),
        temperature=float("nan"),
    )
    with pytest.raises(BundleError, match="finite"):
        bundles.write(bundle.root, description, created=datetime(2026, 1, 1, tzinfo=UTC))
    assert (bundle.root / "manifest.json").read_bytes() == before


# Zipped bundles


def pack(bundle: Bundle, archive: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(archive, "w") as packed:
        for path in bundle.root.rglob("*"):
            if path.is_file():
                packed.write(path, prefix + path.relative_to(bundle.root).as_posix())
    return archive


@pytest.mark.parametrize("prefix", ["", "colours-v1/"])
def test_it_unpacks_a_zipped_bundle(bundle: Bundle, tmp_path: Path, prefix: str) -> None:
    unpacked = bundles.unpack(pack(bundle, tmp_path / "b.zip", prefix), tmp_path / "out")

    unpacked.verify()
    assert unpacked.digest == bundle.digest


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil", "golden/../../evil", "evil.py"])
def test_it_refuses_an_archive_that_would_write(bundle: Bundle, tmp_path: Path, name: str) -> None:
    archive = pack(bundle, tmp_path / "b.zip")
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr(name, "x")

    with pytest.raises(BundleError) as caught:
        bundles.unpack(archive, tmp_path / "out")
    assert caught.value.code == Fault.FILE_UNLISTED
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really"])
def test_it_refuses_an_archive_that_is_none(tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "b.zip"
    archive.write_bytes(content)

    with pytest.raises(BundleError) as caught:
        bundles.unpack(archive, tmp_path / "out")
    assert caught.value.code == Fault.NOT_A_BUNDLE


def unpackable(archive: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        bundles.unpack(archive, archive.parent / "out")
    return caught.value


def test_it_refuses_an_archive_that_is_not_there(tmp_path: Path) -> None:
    assert unpackable(tmp_path / "none.zip").code == Fault.NOT_A_BUNDLE


def test_it_refuses_an_archive_with_a_name_twice(bundle: Bundle, tmp_path: Path) -> None:
    archive = pack(bundle, tmp_path / "b.zip")
    with zipfile.ZipFile(archive, "a") as packed, pytest.warns(UserWarning, match="Duplicate"):
        packed.writestr("model.onnx", "x")

    refused = unpackable(archive)

    assert refused.code == Fault.NOT_A_BUNDLE
    assert "the same file twice" in refused.message
    assert not (tmp_path / "out").exists()


def test_it_refuses_one_file_at_the_top_and_in_the_folder(bundle: Bundle, tmp_path: Path) -> None:
    archive = pack(bundle, tmp_path / "b.zip", "colours/")
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr("model.onnx", "x")

    assert "the same file twice" in unpackable(archive).message


def test_it_refuses_devices_and_pipes_as_archives(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.zip"
    os.mkfifo(pipe)
    device = tmp_path / "device.zip"
    device.symlink_to("/dev/zero")

    for archive in (pipe, device):
        refused = unpackable(archive)
        assert refused.code == Fault.FILE_UNSAFE
        assert "a regular file" in refused.message


def test_it_refuses_an_archive_that_is_too_large_and_says_the_limit(
    bundle: Bundle, tmp_path: Path
) -> None:
    archive = pack(bundle, tmp_path / "b.zip")
    os.truncate(archive, bundles.LARGEST_BUNDLE + 1)

    assert "an archive of 4000000000 bytes at most" in unpackable(archive).message


def test_it_refuses_a_table_of_contents_too_large_to_read(tmp_path: Path) -> None:
    archive, size = tmp_path / "b.zip", 100_000_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, size, 0, 0)
    with archive.open("wb") as file:
        file.seek(size)
        file.write(end)

    assert "table of contents is too large" in unpackable(archive).message


def test_it_refuses_an_archive_without_a_manifest(tmp_path: Path) -> None:
    archive = tmp_path / "b.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("model.onnx", "x")

    assert "without a manifest.json" in unpackable(archive).message
    assert not (tmp_path / "out").exists()


def test_it_unpacks_nothing_that_the_manifest_does_not_list(bundle: Bundle, tmp_path: Path) -> None:
    archive = pack(bundle, tmp_path / "b.zip")
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr("report/bomb.txt", "x")

    refused = unpackable(archive)

    assert refused.code == Fault.FILE_UNLISTED
    assert "report/bomb.txt" in refused.message
    assert os.listdir(tmp_path / "out") == ["manifest.json"]


@pytest.mark.parametrize("place", ["model.onnx", "manifest.json"])
def test_it_stops_at_the_listed_size_of_a_file(bundle: Bundle, tmp_path: Path, place: str) -> None:
    listed = 4_000_000 if place == "manifest.json" else (bundle.root / place).stat().st_size
    with (bundle.root / place).open("ab") as file:
        file.write(b" " * 5_000_000)
    archive = tmp_path / "b.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for item in ("manifest.json", "model.onnx"):
            packed.write(bundle.root / item, item)

    refused = unpackable(archive)

    assert refused.code == Fault.FILE_UNSAFE
    assert f"Expected {listed} bytes of '{place}' at most" in refused.message
    assert (tmp_path / "out" / place).stat().st_size <= listed


def test_it_refuses_a_bundle_too_large_in_all(bundle: Bundle, tmp_path: Path) -> None:
    for number in (0, 1):
        rewrite(bundle, put("files", number, "bytes", value=2**31 - 1))

    refused = unpackable(pack(bundle, tmp_path / "b.zip"))

    assert refused.code == Fault.FILE_UNSAFE
    assert "a bundle of 4000000000 bytes at most" in refused.message


def test_it_refuses_a_bundle_that_the_disk_has_no_room_for(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)

    refused = unpackable(pack(bundle, tmp_path / "b.zip"))

    assert refused.code == "disk"
    assert os.listdir(tmp_path / "out") == ["manifest.json"]


@pytest.mark.parametrize("packing", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_it_refuses_an_unusual_packing(bundle: Bundle, tmp_path: Path, packing: int) -> None:
    archive = tmp_path / "b.zip"
    with zipfile.ZipFile(archive, "w", packing) as packed:
        packed.write(bundle.root / "manifest.json", "manifest.json")

    assert "packed by deflate" in unpackable(archive).message


def test_it_refuses_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    archive = tmp_path / "b.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("é", "x")
    archive.write_bytes(archive.read_bytes().replace("é".encode(), b"\xff\xff"))

    assert "cannot be unpacked" in unpackable(archive).message
