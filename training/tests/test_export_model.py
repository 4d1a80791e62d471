"""`manage.py export_model`: every format answers like the version, and what that cost is said."""

import io
import json
import runpy
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from django.core.management import CommandError, call_command
from PIL import Image
from pytest_django import Settings

from classifier import imaging, registry
from classifier.bundles import Bundle, Description, Label
from classifier.imaging import InputSpec, Interpolation, ResizeRule
from classifier.lineage import Made
from classifier.models import Activation, ModelVersion
from classifier.runtimes.onnx import OnnxRuntime
from classifier.tests.bundles import make_bundle
from classifier.tests.pictures import swapping_profile
from training.conversion import exporting, onnx_files
from training.conversion.formats import Bits, ConversionRefused
from training.datasets import sources
from training.datasets.dataset import Dataset
from training.export import export_bundle
from training.tests import tiny
from training.tests.swatches import swatch, write_swatches

pytestmark = [
    pytest.mark.django_db,
    # Who gets a .tflite file may have ai-edge-litert; here TensorFlow's interpreter stands in.
    pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated"),
]
SPEC = InputSpec(32, 32, resize=ResizeRule.CROP, interpolation=Interpolation.BILINEAR)
# How far a probability may be from that of the version.
EXACT, HALF, WHOLE_NUMBERS = 1e-5, 4e-3, 0.06


@pytest.fixture(scope="module")
def swatches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swatches(tmp_path_factory.mktemp("data") / "swatches", 40)


@pytest.fixture(scope="module")
def dataset(swatches: Path) -> Dataset:
    return sources.load(str(swatches), root=swatches.parent, input=SPEC)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Bundle:
    """A bundle of the tiny network, its last layer fitted to the swatches by least squares."""
    keras.utils.set_random_seed(3)
    network = tiny.build(3, height=32, width=32)
    features = keras.Model(network.input, network.get_layer("pooling").output)
    images, labels = dataset.train.images[:], dataset.train.labels
    given = np.asarray(features(images.astype(np.float32), training=False))
    wanted = 8 * np.eye(3)[labels] - 4
    kernel, *_ = np.linalg.lstsq(np.c_[given, np.ones(len(given))], wanted, rcond=None)
    network.get_layer("logits").set_weights([kernel[:-1], kernel[-1]])
    settings = tiny.RECIPE.settings.changed({"validation": "9", "views": "mirrored"})
    description = Description(
        name="swatches",
        title="Swatches",
        architecture="tiny",
        labels=tuple(Label(key, key) for key in dataset.label_keys),
        input=SPEC,
        temperature=1.5,
        dataset={"name": "swatches", "digest": dataset.digest},
        recipe={
            "name": "tiny",
            "command": "python manage.py train tiny",
            "settings": settings.as_json(),
            "seed": 3,
        },
    )
    root = tmp_path_factory.mktemp("bundle") / "whole"
    return export_bundle(network, root, description, views="mirrored")


@pytest.fixture
def version(whole: Bundle, settings: Settings, swatches: Path, db: None) -> ModelVersion:
    settings.DATASETS_ROOT = swatches.parent
    return registry.register(whole.root, activate=True)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture of another size and shape than the input, with an edge that is transparent."""
    picture = Image.open(io.BytesIO(swatch("green", 5))).resize((90, 60))
    picture.putalpha(Image.linear_gradient("L").resize((90, 60)))
    picture.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def say(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out, no_color=True)
    return out.getvalue()


def export(*words: object) -> str:
    return say("export_model", *map(str, words))


def refused(*words: object) -> str:
    with pytest.raises(CommandError) as caught:
        export(*words)
    assert caught.value.returncode == 2
    return str(caught.value)


def served(bundle: Bundle, photo: Path) -> dict[str, float]:
    """Return what the version itself says of the picture."""
    pixels, _ = imaging.load(photo.read_bytes(), bundle.manifest.input)
    with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
        row = runtime.predict(pixels[None])[0].tolist()
    return dict(zip(bundle.manifest.label_keys(), row, strict=True))


def answered(folder: Path, photo: Path) -> dict[str, float]:
    """Return what the program beside the exported file says of the picture."""
    answer: Callable[[Path], dict[str, float]] = runpy.run_path(str(folder / "classify.py"))[
        "answer"
    ]
    return answer(photo)


@pytest.mark.parametrize(
    ("format", "bits", "file", "tolerance"),
    [
        ("onnx", "", "model.onnx", EXACT),
        ("onnx", "float16", "model.onnx", HALF),
        ("onnx", "int8", "model.onnx", WHOLE_NUMBERS),
        ("tflite", "", "model.tflite", EXACT),
        ("tflite", "float16", "model.tflite", HALF),
        ("tflite", "int8", "model.tflite", WHOLE_NUMBERS),
        ("savedmodel", "", "saved_model", EXACT),
    ],
)
def test_a_stranger_gets_the_answers_of_the_version(
    version: ModelVersion,
    whole: Bundle,
    photo: Path,
    tmp_path: Path,
    format: str,
    bits: str,
    file: str,
    tolerance: float,
) -> None:
    folder = tmp_path / "made"
    quantised = ["--quantize", bits] if bits else []
    said = export("swatches:1", "--format", format, *quantised, "--output", folder)

    assert (folder / file).exists()
    expected, received = served(whole, photo), answered(folder, photo)
    assert received == pytest.approx(expected, abs=tolerance)
    assert next(iter(received)) == max(expected, key=lambda key: expected[key])
    about = json.loads((folder / "model.json").read_text())
    assert about["measured"]["images"] == len(dataset_of(said))
    assert about["output"] == "probabilities"
    assert (folder / "labels.txt").read_text().split() == list(whole.manifest.label_keys())
    assert (folder / "requirements.txt").read_text().startswith("numpy\npillow\n")
    assert "95 % interval" in said
    assert "Largest difference" in said


def dataset_of(said: str) -> range:
    """Return as many numbers as the command says that it measured on pictures."""
    words = said.partition("Measuring on ")[2]
    return range(int(words.partition(" test images")[0]))


def test_a_stranger_gets_the_colours_that_a_pictures_profile_means(
    drawn: ModelVersion, tmp_path: Path
) -> None:
    red = Image.new("RGB", (32, 32), "red")
    red.save(tmp_path / "plain.png")
    red.save(tmp_path / "swapped.png", icc_profile=swapping_profile())
    red.save(tmp_path / "broken.png", icc_profile=b"no profile")
    export("colours", "--format", "onnx", "--unmeasured", "--output", tmp_path / "made")

    said = [
        next(iter(answered(tmp_path / "made", tmp_path / f"{name}.png")))
        for name in ("plain", "swapped", "broken")
    ]
    assert said == ["red", "green", "red"]


def test_a_graph_that_cannot_be_run_is_refused_in_a_sentence(tmp_path: Path) -> None:
    served = make_bundle(tmp_path / "bundle").file("serve")
    graph = onnx.load(served)
    graph.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(graph, served)

    pictures = np.zeros((1, 32, 32, 3), np.uint8)
    with pytest.raises(ConversionRefused, match="cannot make int8 of the graph"):
        onnx_files.write(served, tmp_path / "made.onnx", Bits.INT8, pictures)


def test_the_keras_file_gives_logits_of_one_view_and_says_so(
    version: ModelVersion, whole: Bundle, photo: Path, tmp_path: Path
) -> None:
    said = export("swatches", "--format", "keras", "--output", tmp_path / "made", "--images", "10")

    readme = (tmp_path / "made" / "README.md").read_text()
    assert "averages the logits of several views of a picture, which this file does not" in readme
    assert "logits. The softmax of them divided by 1.5000" in readme
    assert len(dataset_of(said)) == 10
    received = answered(tmp_path / "made", photo)
    assert received == pytest.approx(served(whole, photo), abs=0.1)
    assert sum(received.values()) == pytest.approx(1)


def test_the_readme_tells_a_stranger_what_goes_in_and_what_comes_out(
    version: ModelVersion, tmp_path: Path
) -> None:
    export("swatches:1", "--format", "onnx", "--unmeasured", "--output", tmp_path / "made")

    readme = (tmp_path / "made" / "README.md").read_text()
    for words in (
        "Tells 3 kinds of picture apart: blue, green, red",
        "`[N, 32, 32, 3]`, uint8, named `image`",
        "cut the largest part of the input's shape out of the middle",
        "`[N, 3]`, float32, in the order of `labels.txt`, named `probabilities`: probabilities",
        "This file was not measured.",
        "python classify.py picture.jpg",
    ):
        assert words in readme


@pytest.fixture
def drawn(settings: Settings, tmp_path: Path, swatches: Path, dataset: Dataset) -> ModelVersion:
    """A version that needs no Keras, and that serves."""
    settings.DATASETS_ROOT = swatches.parent
    bundle = make_bundle(
        tmp_path / "drawn",
        dataset={"name": "swatches", "digest": dataset.digest},
        recipe={"name": "by hand", "cuts": [{"validation": 9}], "origin": {"dataset": "x"}},
        explains=True,
    )
    return registry.register(bundle.root, activate=True)


def test_a_quantised_graph_is_registered_with_what_it_was_made_of_and_what_that_cost(
    drawn: ModelVersion, dataset: Dataset, tmp_path: Path
) -> None:
    said = export(
        "colours", "--format", "onnx", "--quantize", "int8", "--register", "--images", 200,
        "--dataset", "swatches", "--output", tmp_path / "made",
    )  # fmt: skip

    assert "Colours v2 is registered." in said
    version = ModelVersion.objects.get(number=2)
    bundle = version.fetch_bundle()
    lineage = bundle.manifest.lineage
    assert lineage is not None
    assert lineage.made is Made.INT8
    assert [each.digest for each in lineage.of] == [drawn.bundle_digest]
    assert lineage.cost is not None
    assert lineage.cost.images == len(dataset.test)
    kinds = {node.op_type for node in onnx.load(bundle.file("serve")).graph.node}
    assert "QuantizeLinear" in kinds
    assert bundle.files("explain")
    core = bundle.manifest.metrics["core"]
    assert core["own"] > 0
    assert list(core["of"]) == [drawn.bundle_digest]
    assert bundle.manifest.recipe["name"] == "by hand"
    assert set(bundle.manifest.levels) == {"high", "medium", "low"}
    card = (bundle.root / "report" / "model_card.md").read_text()
    assert "with weights and sums in int8; nothing was trained" in card
    with pytest.raises(CommandError) as reproduced:
        say("reproduce", "colours:2")
    assert "was not trained: it was made of colours" in str(reproduced.value)
    assert str(reproduced.value).endswith(
        "export_model colours:1 --format onnx --quantize int8 --register --images 200 --dataset "
        "swatches"
    )


def test_the_gate_refuses_int8_that_costs_too_much_unless_it_is_told(
    drawn: ModelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ranges seen on dark pictures fit no others: this is int8 as it must not be.
    dark = np.full((4, 32, 32, 3), 10, np.uint8)
    monkeypatch.setattr(exporting, "_for_ranges", lambda parts: dark)
    words = ("colours:1", "--format", "onnx", "--quantize", "int8", "--activate")

    said = refused(*words, "--output", tmp_path / "one")
    assert "Quantising: As int8 it has" in said
    assert "at most 0.5 are forgiven" in said
    assert "activate_model colours 2 --override-gate" in said
    assert ModelVersion.objects.get(number=1).is_active
    say("activate_model", "colours", "2", "--override-gate", "--reason", "a trial")
    assert ModelVersion.objects.get(number=2).is_active
    activation = Activation.objects.first()
    assert activation is not None
    assert activation.overrode
    assert {"rule": "Quantising", "outcome": "fail"}.items() <= {
        name: value
        for each in activation.gate
        if each["rule"] == "Quantising"
        for name, value in each.items()
    }.items()


def test_what_has_no_keras_network_is_exported_as_onnx_alone(
    drawn: ModelVersion, tmp_path: Path
) -> None:
    folder = tmp_path / "made"
    said = refused("colours", "--format", "keras", "--output", folder)
    assert "no model.keras" in said
    assert "manage.py reproduce colours:1" in said
    export("colours", "--format", "onnx", "--quantize", "float16", "--register", "--output", folder)
    again = ("colours:2", "--output", tmp_path / "again", "--format")

    assert "a graph and no Keras network" in refused(*again, "tflite")
    said = refused(*again, "onnx", "--quantize", "int8")
    assert "quantised to float16 already. Quantise the version that it was made of: colours:1" in (
        said
    )
    assert "Written" in export(*again, "onnx", "--unmeasured")
    with pytest.raises(CommandError, match=r"no model\.keras"):
        say("refresh_bundle", "colours:2", "--keep-figures", "--output", str(tmp_path / "new"))


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("_compared", "Stopped. Nothing was written or registered."),
        ("as_version", "(model.onnx). Nothing was registered."),
    ],
)
def test_stopped_it_says_what_stands_and_leaves_nothing_half_written(
    drawn: ModelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, words: str
) -> None:
    def stop(*given: object) -> None:
        signal.raise_signal(signal.SIGTERM)  # on this thread, whatever others a library has

    monkeypatch.setattr(exporting, where, stop)
    order = ("colours:1", "--format", "onnx", "--quantize", "float16", "--register")
    with pytest.raises(CommandError) as caught:
        export(*order, "--output", tmp_path / "made")

    assert caught.value.returncode == 130
    assert str(caught.value).endswith(words)
    assert (tmp_path / "made" / "model.onnx").exists() is (where == "as_version")
    assert not list(tmp_path.glob(".output-*"))
    assert ModelVersion.objects.count() == 1


def test_without_output_it_is_written_among_the_runs(
    drawn: ModelVersion, tmp_path: Path, settings: Settings
) -> None:
    settings.RUNS_ROOT = tmp_path / "new" / "runs"
    said = export("colours:1", "--format", "onnx", "--unmeasured")

    assert str(settings.RUNS_ROOT / "export-colours-1-onnx") in said
    assert (settings.RUNS_ROOT / "export-colours-1-onnx" / "model.onnx").is_file()


def test_the_program_beside_it_reads_the_model_once_and_says_what_it_cannot_read(
    drawn: ModelVersion,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    export("colours", "--format", "onnx", "--unmeasured", "--output", tmp_path / "made")
    read: list[str] = []
    session = onnxruntime.InferenceSession

    def counted(path: str, **options: Any) -> Any:
        read.append(path)
        return session(path, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", counted)
    main: Callable[[list[str]], int] = runpy.run_path(str(tmp_path / "made" / "classify.py"))[
        "main"
    ]
    (tmp_path / "words.txt").write_text("no picture")
    (tmp_path / "half.png").write_bytes(photo.read_bytes()[:200])

    files = [photo, tmp_path / "words.txt", tmp_path / "none.png", tmp_path / "half.png", photo]
    assert main([str(file) for file in files]) == 1
    out, error = capsys.readouterr()
    assert out.count("photo.png: green ") == 2
    assert "words.txt: this is no picture" in error
    assert "none.png: there is no such file" in error
    assert "half.png: this is no picture" in error
    assert len(read) == 1
    assert main([str(photo)]) == 0
    assert main([]) == 2
    assert "python classify.py picture.jpg" in capsys.readouterr().err


def test_it_refuses_bad_input_and_leaves_nothing_behind(
    drawn: ModelVersion, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("keep me")
    onnx_to = ("colours:1", "--format", "onnx", "--output", tmp_path / "made")
    cases: tuple[tuple[tuple[Any, ...], str], ...] = (
        (("colours:9", "--format", "onnx"), "no version 9"),
        (("shapes", "--format", "onnx"), "a registered model"),
        (("colours:1", "--format", "onnx", "--output", full), "a new or an empty folder"),
        (("colours:1", "--format", "onnx", "--output", full / "mine.txt"), "to be a folder"),
        (("colours:1", "--format", "onnx", "--output", full / "a" / "b"), "that is there"),
        ((*onnx_to, "--images", 0), "at least 1"),
        ((*onnx_to, "--dataset", "nowhere"), "nowhere"),
        ((*onnx_to, "--register"), "--quantize int8 or float16"),
        ((*onnx_to, "--quantize", "int8", "--activate", "--images", 199), "of at least 200"),
        ((*onnx_to, "--override-gate", "--reason", "x" * 501), "500 characters at most"),
        ((*onnx_to, "--unmeasured", "--quantize", "int8"), "int8 needs pictures"),
        ((*onnx_to, "--unmeasured", "--quantize", "float16", "--register"), "without --register"),
        ((*onnx_to, "--override-gate"), "expected --reason"),
        (("colours:1", "--format", "keras", "--quantize", "int8"), "--format tflite or onnx"),
        (("colours:1", "--format", "savedmodel", "--quantize", "float16"), "tflite or onnx"),
    )
    for words, sentence in cases:
        assert sentence in refused(*words), words
    assert not (tmp_path / "made").exists()
    assert [path.name for path in full.iterdir()] == ["mine.txt"]
    assert not list(tmp_path.glob(".output-*"))
