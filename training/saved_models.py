"""A `.keras` file that somebody made: inspected before it is loaded, and loaded safely.

A saved network is a small program: it names classes to be imported and their arguments. Keras'
safe mode refuses what is known to run code; here only what is known to be harmless is let in. The
whole of config.json is walked before Keras sees it, and what Keras then loads is a private copy of
what was inspected. Keras itself is imported only to load.
"""

from __future__ import annotations

import json
import stat
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.builtins_allowed import (
    ACTIVATIONS,
    CONSTRAINTS,
    INITIALIZERS,
    LAYERS,
    REGULARIZERS,
)

if TYPE_CHECKING:
    import keras

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# Bytes once unpacked. The weights' limit is that of the ONNX file they are to become.
LARGEST = {CONFIG: 20_000_000, METADATA: 1_000_000, WEIGHTS: 2**31 - 1}
MOST_UNITS = 65_536
DEEPEST = 200

CLASSES: Mapping[str, frozenset[str]] = {
    "keras": frozenset({"Sequential", "Model", "DTypePolicy"}),
    "keras.models": frozenset({"Sequential", "Model"}),
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.src.models.sequential": frozenset({"Sequential"}),
    "keras.layers": LAYERS,
    "keras.initializers": INITIALIZERS,
    "keras.regularizers": REGULARIZERS,
    "keras.constraints": CONSTRAINTS,
}
NETWORKS = frozenset({"Sequential", "Model", "Functional"})
# Marks that Keras leaves in a config for values that JSON has no form for; they import nothing.
MARKS = frozenset({"__keras_tensor__", "__tuple__"})
# Strings in these places are looked up by name; a built-in's name has no dot in it.
_NAMED = ("_initializer", "_regularizer", "_constraint")
_SIZES = ("units", "filters", "num_heads", "key_dim", "value_dim", "depth_multiplier", "n")


class UnsafeModel(ValueError):
    """A saved network was refused; `str()` is a sentence that says what stood where."""


@dataclass(frozen=True)
class SavedNetwork:
    """A network ready to be exported.

    `network` takes (N, height, width, 3) and gives (N, classes): logits, or probabilities where
    `outputs_probabilities`.
    """

    network: keras.Model
    height: int
    width: int
    classes: int
    outputs_probabilities: bool


def load(path: Path) -> SavedNetwork:
    """Inspect and load a `.keras` file; its closing softmax, if it has one, is taken off.

    Raises UnsafeModel for a file that is not to be loaded, cannot be, or is no image classifier.
    """
    return _classifier(load_network(path))


def load_network(path: Path) -> keras.Model:
    """Inspect and load a `.keras` file, whatever the network in it is for.

    Raises UnsafeModel for a file that is not to be loaded, or cannot be.
    """
    check_file(path)
    with tempfile.TemporaryDirectory(prefix="classifyme-keras-") as folder:
        copy = Path(folder) / "inspected.keras"
        _copy_inspected(path, copy, Path(folder))
        return _load_inspected(copy)


def inspect(path: Path) -> dict[str, Any]:
    """Return the network's config after checking all of it; nothing is imported or built."""
    check_file(path)
    with _opened(path) as saved:
        return _inspected_config(saved)


def check_config(config: object) -> None:
    """Raise UnsafeModel unless the config is that of a network of built-in layers alone."""
    if not isinstance(config, dict) or config.get("class_name") not in NETWORKS:
        name = config.get("class_name") if isinstance(config, dict) else config
        raise UnsafeModel(f"Expected a Sequential or functional network. Received: {name!r:.100}")
    for place, value in _objects(config, "config.json", 0):
        _check_object(place, value)


def check_file(path: Path) -> None:
    """Raise UnsafeModel unless this is a regular local file named *.keras; nothing is read."""
    if "://" in str(path) or str(path).startswith(("http:", "https:", "gs:", "s3:", "hf:")):
        raise UnsafeModel(f"Expected a file on this machine, not an address. Received: {path}")
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError) as exc:
        raise UnsafeModel(f"Expected a .keras file that can be read. Received: {path}") from exc
    if stat.S_ISLNK(mode):
        raise UnsafeModel(f"Expected a .keras file itself, not a link. Received: {path}")
    if stat.S_ISDIR(mode):
        raise UnsafeModel(f"Expected a .keras file, not a folder. Received: {path}")
    if path.suffix.lower() in {".h5", ".hdf5"}:
        raise UnsafeModel(
            f"Expected a .keras file. Received: {path.name}. An .h5 file can hide code that runs "
            "when it is loaded: load it where you trust it, save it as .keras, and register that."
        )
    if not stat.S_ISREG(mode) or path.suffix != ".keras":
        raise UnsafeModel(f"Expected a regular file named *.keras. Received: {path}")


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        saved = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as exc:
        raise UnsafeModel(f"{path.name} is no .keras file: it is not a whole zip archive.") from exc
    try:
        _check_members(saved.infolist())
    except UnsafeModel:
        saved.close()
        raise
    return saved


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    names = sorted(member.filename for member in members)
    if names != sorted(LARGEST):
        shown = ", ".join(names[:10])
        raise UnsafeModel(f"Expected exactly {', '.join(sorted(LARGEST))}. Received: {shown:.300}")
    for member in members:
        if member.file_size > LARGEST[member.filename]:
            raise UnsafeModel(
                f"Expected {member.filename} of {LARGEST[member.filename]} bytes at most once "
                f"unpacked. Received: {member.file_size}"
            )
        if member.flag_bits & 1:
            raise UnsafeModel(f"{member.filename} is encrypted.")


def _inspected_config(saved: zipfile.ZipFile) -> dict[str, Any]:
    try:
        config = json.loads(saved.read(CONFIG))
    except (ValueError, RecursionError, zipfile.BadZipFile, NotImplementedError) as exc:
        raise UnsafeModel(f"Expected {CONFIG} to be JSON. Received: {exc}") from exc
    check_config(config)
    checked: dict[str, Any] = _without_compilation(config)
    return checked


def _without_compilation(value: Any) -> Any:
    """Return the config without how it was trained: optimizers, losses and metrics.

    Nested networks too: Keras compiles those even where it was told not to compile.
    """
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key != "compile_config"}
        return {key: _without_compilation(item) for key, item in kept.items()}
    return [_without_compilation(item) for item in value] if isinstance(value, list) else value


def _objects(value: object, place: str, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every JSON object with where it stands."""
    if depth > DEEPEST:
        raise UnsafeModel(
            f"Expected a config nested {DEEPEST} deep at most. Received: a deeper one"
        )
    if isinstance(value, dict):
        yield place, value
        for key, item in value.items():
            if key != "compile_config":
                yield from _objects(item, f"{place}/{key}", depth + 1)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _objects(item, f"{place}/{number}", depth + 1)


def _check_object(place: str, value: dict[str, Any]) -> None:
    if "class_name" in value:
        _check_class(place, value)
    elif {"module", "registered_name"} & set(value):
        raise UnsafeModel(f"Expected a class_name beside the module. Received: none, in {place}")
    for key, item in value.items():
        _check_setting(place, key, item)


def _check_class(place: str, value: dict[str, Any]) -> None:
    name, module = value["class_name"], value.get("module")
    if not isinstance(name, str) or not isinstance(module, str | None):
        raise UnsafeModel(f"Expected names as text. Received: {name!r:.100} in {place}")
    if module is None and name in MARKS and "registered_name" not in value:
        return
    if module is None or name not in CLASSES.get(module, frozenset()):
        shown = f"{module}.{name}" if module else name
        raise UnsafeModel(
            f"Expected built-in Keras layers alone. Received: {shown:.200} in {place}"
        )
    if value.get("registered_name") not in (None, name):
        received = f"{value['registered_name']!r:.200} in {place}"
        raise UnsafeModel(f"Expected no custom class. Received: {received}")


def _check_setting(place: str, key: str, item: object) -> None:
    """Refuse a setting that is looked up by a name that is no built-in's, or absurdly large."""
    if key.endswith("activation") and isinstance(item, str) and item not in ACTIVATIONS:
        raise UnsafeModel(f"Expected a built-in activation. Received: {item!r:.100} in {place}")
    if key.endswith(_NAMED) and isinstance(item, str) and not item.isidentifier():
        raise UnsafeModel(f"Expected a built-in's name. Received: {item!r:.100} in {place}/{key}")
    if key in _SIZES and isinstance(item, int | float) and not 0 < item <= MOST_UNITS:
        expected = f"Expected {key} from 1 to {MOST_UNITS}."
        raise UnsafeModel(f"{expected} Received: {item!r:.100} in {place}")


def _copy_inspected(path: Path, copy: Path, folder: Path) -> None:
    """Write the archive anew from its inspected members: what is loaded is what was looked at."""
    weights = folder / WEIGHTS
    with _opened(path) as saved:
        config = _inspected_config(saved)
        try:
            metadata = json.loads(saved.read(METADATA))
            weights.write_bytes(saved.read(WEIGHTS))
        except (ValueError, zipfile.BadZipFile, NotImplementedError, EOFError) as exc:
            raise UnsafeModel(f"{path.name} is damaged: {exc}") from exc
    _check_weights(weights)
    with zipfile.ZipFile(copy, "w") as inspected:
        inspected.writestr(CONFIG, json.dumps(config))
        inspected.writestr(METADATA, json.dumps(metadata))
        inspected.write(weights, WEIGHTS)


def _check_weights(path: Path) -> None:
    """Refuse links to other files, data kept outside, and more numbers than the limit."""
    import h5py

    total = 0
    try:
        with h5py.File(path, "r") as file:
            for name, item in _entries(file):
                if not isinstance(item, h5py.Dataset):
                    continue
                if item.external or item.is_virtual:
                    raise UnsafeModel(f"The weights keep data outside of their file: {name:.200}")
                total += item.nbytes
    except (OSError, RuntimeError, KeyError) as exc:
        raise UnsafeModel(f"The weights cannot be read: {exc}") from exc
    if total > LARGEST[WEIGHTS]:
        raise UnsafeModel(
            f"Expected {LARGEST[WEIGHTS]} bytes of weights at most. Received: {total}"
        )


def _entries(group: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    import h5py

    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise UnsafeModel(f"The weights hold a link, which is not safe: {place}/{name:.200}")
        item = group[name]
        yield f"{place}/{name}", item
        if isinstance(item, h5py.Group):
            yield from _entries(item, f"{place}/{name}")


def _load_inspected(path: Path) -> keras.Model:
    import keras
    import tensorflow as tf

    # What Keras raises for a config that does not fit itself or its weights has no common base.
    faults = (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        OSError,
        RuntimeError,
        MemoryError,
        tf.errors.OpError,
        UserWarning,
    )
    try:
        with warnings.catch_warnings():
            # "Skipping ...": weights that are not in the file would stay as drawn at random.
            warnings.filterwarnings("error", "Skipping", UserWarning)
            network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except faults as exc:
        first_line = str(exc).strip().partition("\n")[0]
        raise UnsafeModel(f"Keras cannot load the network: {first_line:.500}") from exc
    if not isinstance(network, keras.Model):
        raise UnsafeModel(f"Expected a network. Received: {type(network).__name__}")
    return network


def _classifier(network: keras.Model) -> SavedNetwork:
    """Check the shapes and take the softmax off."""
    ins, outs = _shapes(network, "inputs"), _shapes(network, "outputs")
    if len(ins) != 1 or len(ins[0]) != 4 or ins[0][0] is not None or ins[0][3] != 3:
        raise UnsafeModel(f"Expected one input of shape (None, H, W, 3). Received: {ins}")
    height, width = ins[0][1:3]
    if height is None or width is None:
        raise UnsafeModel(f"Expected an input of fixed height and width. Received: {ins[0]}")
    if len(outs) != 1 or len(outs[0]) != 2 or outs[0][0] is not None or outs[0][1] is None:
        raise UnsafeModel(f"Expected one output of shape (None, classes). Received: {outs}")
    bare, outputs_probabilities = _without_softmax(network)
    return SavedNetwork(bare, height, width, outs[0][1], outputs_probabilities)


def _shapes(network: keras.Model, side: str) -> list[tuple[int | None, ...]]:
    tensors = getattr(network, side, None)
    if not isinstance(tensors, list):
        raise UnsafeModel(
            "Expected a network that was built before it was saved. Received: one not"
        )
    return [tuple(tensor.shape) for tensor in tensors]


def _without_softmax(network: keras.Model) -> tuple[keras.Model, bool]:
    """Return the network ending in logits, or as it is with True where the softmax stays in.

    It comes back as one tensor in, one tensor out, whatever lists or names it was saved with.
    """
    import keras

    last, output = _last_layer(network), network.outputs[0]
    softmax_stays = False
    if isinstance(last, keras.layers.Softmax):
        softmax_stays = last not in network.layers
        output = output if softmax_stays else last.input
    else:
        _end_in_logits(last)
    return keras.Model(network.inputs[0], output), softmax_stays


def _end_in_logits(last: Any) -> None:
    import keras

    activation = getattr(last, "activation", keras.activations.linear)
    if activation is keras.activations.softmax:
        last.activation = keras.activations.linear
    elif activation is not keras.activations.linear:
        name = getattr(activation, "__name__", type(activation).__name__)
        raise UnsafeModel(f"Expected a network that ends in logits or softmax. Received: {name}")


def _last_layer(network: keras.Model) -> Any:
    import keras

    last = network.outputs[0]._keras_history.operation
    return _last_layer(last) if isinstance(last, keras.Model) else last
