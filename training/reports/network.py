"""The network as a diagram of our own: layers in order, their shapes, parameters and shortcuts."""

from __future__ import annotations

import dataclasses
import html
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Layers that only change what the layer before them gives: drawn in its box.
_FOLDED = frozenset(
    {
        "Activation", "BatchNormalization", "Dropout", "ELU", "GroupNormalization",
        "LayerNormalization", "LeakyReLU", "PReLU", "ReLU", "Softmax", "SpatialDropout2D",
    }
)  # fmt: skip
_SHORT = {"BatchNormalization": "BatchNorm", "GlobalAveragePooling2D": "global average pooling"}
_FAMILIES = (
    ("conv", ("Conv",)),
    ("pool", ("Pooling",)),
    ("dense", ("Dense",)),
    ("merge", ("Add", "Concatenate", "Multiply", "Average", "Subtract")),
)
_ROW, _BOX, _LANE = 30, 24, 9  # pixels: from row to row, a box's height, between shortcuts
_WIDTH = 700


@dataclass(frozen=True)
class Layer:
    """A layer of a network: `shape` is its output's, without the batch; `inputs` are names."""

    name: str
    kind: str
    detail: str
    shape: tuple[int | None, ...]
    parameters: int
    inputs: tuple[str, ...]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Layer:
        """Return the layer that `dataclasses.asdict` made; KeyError or TypeError if it is none."""
        fields = {field.name: value[field.name] for field in dataclasses.fields(cls)}
        lists = {name: tuple(fields[name]) for name in ("shape", "inputs")}
        return cls(**(fields | lists))


def layers(network: Any) -> list[Layer]:
    """Return a Keras network's layers in order, those of networks inside it among them."""
    found: list[Layer] = []
    _collect(network, "", (), found)
    return found


def _collect(network: Any, prefix: str, outer: tuple[str, ...], found: list[Layer]) -> str:
    """Append the layers of a network fed by `outer`; return the name of the last."""
    inbound = {item["name"]: _sources(item.get("inbound_nodes")) for item in _config(network)}
    names: dict[str, str] = {}  # of a layer here -> of the layer in the list that stands for it
    last = outer
    for layer in network.layers:
        sources = inbound.get(layer.name) or ()
        inputs = tuple(names[source] for source in sources if source in names) or last
        if type(layer).__name__ == "InputLayer" and outer:
            names[layer.name] = outer[0]
            continue
        if hasattr(layer, "layers"):
            names[layer.name] = _collect(layer, f"{prefix}{layer.name}/", inputs, found)
        else:
            found.append(_layer(layer, f"{prefix}{layer.name}", inputs))
            names[layer.name] = found[-1].name
        last = (names[layer.name],)
    return last[0] if last else ""


def _config(network: Any) -> list[Mapping[str, Any]]:
    """Return the layers' configurations that know where their inputs come from, if any do."""
    described = network.get_config().get("layers", [])
    return [item for item in described if "name" in item]


def _sources(node: Any) -> tuple[str, ...]:
    """Return the names of the layers whose outputs a configuration names as inputs, in order."""
    if isinstance(node, Mapping):
        if node.get("class_name") == "__keras_tensor__":
            return (node["config"]["keras_history"][0],)
        node = list(node.values())
    if isinstance(node, list | tuple):
        return tuple(name for item in node for name in _sources(item))
    return ()


def _layer(layer: Any, name: str, inputs: tuple[str, ...]) -> Layer:
    try:
        shape = tuple(layer.output.shape[1:])
    except (AttributeError, ValueError):  # called never, or more than once
        shape = ()
    kind = type(layer).__name__
    return Layer(name, kind, _detail(layer.get_config()), shape, layer.count_params(), inputs)


def _detail(config: Mapping[str, Any]) -> str:
    words = []
    if size := config.get("kernel_size") or config.get("pool_size"):
        words.append("\N{MULTIPLICATION SIGN}".join(map(str, size)))
    strides = config.get("strides")
    if strides and config.get("kernel_size") and max(strides) > 1:
        words.append(f"stride {max(strides)}")
    activation = config.get("activation")
    if isinstance(activation, str) and activation != "linear":
        words.append(activation)
    return " ".join(words)


@dataclass(frozen=True)
class Box:
    """Layers drawn as one: the first, and those after it that only change what it gives."""

    layers: tuple[Layer, ...]
    inputs: tuple[int, ...]  # indices of boxes

    @property
    def words(self) -> str:
        return " \N{RIGHTWARDS ARROW} ".join(_words(layer) for layer in self.layers)

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def family(self) -> str:
        kind = self.layers[0].kind
        return next((name for name, marks in _FAMILIES if any(m in kind for m in marks)), "other")


def _words(layer: Layer) -> str:
    if layer.kind == "Activation":
        return layer.detail or "activation"
    return f"{_SHORT.get(layer.kind, layer.kind)} {layer.detail}".rstrip()


def boxes(found: Sequence[Layer]) -> list[Box]:
    """Return the boxes that a network is drawn as, in order."""
    uses = Counter(name for layer in found for name in layer.inputs)
    groups: list[list[Layer]] = []
    for layer in found:
        before = groups[-1][-1] if groups else None
        alone = before and layer.inputs == (before.name,) and uses[before.name] == 1
        if alone and layer.kind in _FOLDED and before and before.kind != "InputLayer":
            groups[-1].append(layer)
        else:
            groups.append([layer])
    place = {layer.name: index for index, group in enumerate(groups) for layer in group}
    return [
        Box(tuple(group), tuple(place[name] for name in group[0].inputs if name in place))
        for group in groups
    ]


def svg(found: Sequence[Layer]) -> str:
    """Return the diagram as an SVG element, coloured by the page's style sheet."""
    drawn = boxes(found)
    lanes = _lanes(drawn)
    left = 24 + _LANE * (max(lanes.values(), default=0) + 1)
    height = _ROW * len(drawn) + 28
    parts = [
        f'<svg class="network" role="img" aria-label="Diagram of the network" '
        f'viewBox="0 0 {_WIDTH} {height}" xmlns="http://www.w3.org/2000/svg">',
        f'<text class="faint" x="{left + 8}" y="14">layer</text>'
        f'<text class="faint" x="{_WIDTH - 110}" y="14" text-anchor="end">output</text>'
        f'<text class="faint" x="{_WIDTH - 4}" y="14" text-anchor="end">parameters</text>',
    ]
    for index, box in enumerate(drawn):
        parts += _row(index, box, left)
    parts += (_shortcut(source, target, lane, left) for (source, target), lane in lanes.items())
    return "\n".join([*parts, "</svg>"])


def _lanes(drawn: Sequence[Box]) -> dict[tuple[int, int], int]:
    """Return for each shortcut (from, to) how far left it runs: those side by side keep apart."""
    links = [
        (source, index)
        for index, box in enumerate(drawn)
        for source in box.inputs
        if source != index - 1
    ]
    lanes: dict[tuple[int, int], int] = {}
    for link in sorted(links, key=lambda link: link[1] - link[0]):
        taken = {lanes[other] for other in lanes if other[0] < link[1] and link[0] < other[1]}
        lanes[link] = next(lane for lane in range(len(links)) if lane not in taken)
    return lanes


def _row(index: int, box: Box, left: int) -> Iterator[str]:
    top = 22 + _ROW * index
    middle = top + _BOX / 2 + 4
    width = _WIDTH - 220 - left
    if index and index - 1 in box.inputs:
        yield (f'<path class="link" d="M{left + 16} {top - _ROW + _BOX}V{top}"/>')
    title = html.escape(", ".join(layer.name for layer in box.layers))
    yield (
        f'<rect class="box {box.family}" x="{left}" y="{top}" width="{width}" height="{_BOX}" '
        f'rx="5"><title>{title}</title></rect>'
        f'<text x="{left + 8}" y="{middle}">{html.escape(_shortened(box.words, width))}</text>'
    )
    shape = "\N{MULTIPLICATION SIGN}".join(
        "?" if side is None else str(side) for side in box.layers[-1].shape
    )
    yield f'<text x="{_WIDTH - 110}" y="{middle}" text-anchor="end">{shape}</text>'
    if box.parameters:
        yield f'<text x="{_WIDTH - 4}" y="{middle}" text-anchor="end">{box.parameters:,}</text>'


def _shortened(words: str, width: int) -> str:
    most = width // 7
    return words if len(words) <= most else f"{words[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def _shortcut(source: int, target: int, lane: int, left: int) -> str:
    start, end = (22 + _ROW * index + _BOX / 2 for index in (source, target))
    x = left - 10 - _LANE * lane
    return (
        f'<path class="link" d="M{left} {start + 5}H{x + 5}Q{x} {start + 5} {x} {start + 10}'
        f'V{end - 10}Q{x} {end - 5} {x + 5} {end - 5}H{left}"/>'
        f'<path class="tip" d="M{left - 5} {end - 8}L{left} {end - 5}L{left - 5} {end - 2}z"/>'
    )
