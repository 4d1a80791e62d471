"""What is compared with what: from words on a command line to candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from training.architecture_search.architectures import (
    Architecture,
    Option,
    SearchError,
    check_name,
    find,
)
from training.architectures import names

Learns = Literal["head", "tuned", "all"]
LEARNS: Mapping[Learns, str] = {
    "head": "the head",
    "tuned": "the head, then all",
    "all": "all of it",
}
IMAGENET, NONE = "imagenet", "none"
_FROM = {IMAGENET: "ImageNet", NONE: "random"}
_ENDINGS = (".weights.h5", ".h5", ".keras")
SMALLEST, LARGEST = 8, 1024  # pixels a side


@dataclass(frozen=True)
class Candidate:
    """An architecture that is trained and measured.

    Attributes:
        weights: `imagenet`, `none`, or the path of a file.
        size: height and width of its pictures, in pixels.
        learns: `head` alone over a frozen backbone, `tuned` (the head, then all of it at a lower
            rate), or `all` of it from the start.
        options: of the architecture's `build`.
    """

    architecture: str
    weights: str
    size: int
    learns: Learns
    options: Mapping[str, Option] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Return how people wrote it: `mobilenet_v2:alpha=0.35`."""
        return labelled(self.architecture, self.options)

    @property
    def starts_from(self) -> str:
        """Return in a word what its weights are; of a file the name, never the folder."""
        name = Path(self.weights).name
        ending = next((each for each in _ENDINGS if name.endswith(each)), "")
        return _FROM.get(self.weights, name.removesuffix(ending))

    def __str__(self) -> str:
        return (
            f"{self.label} from {self.starts_from} weights, {self.size}x{self.size} pixels, "
            f"learns {LEARNS[self.learns]}"
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture,
            "weights": self.weights,
            "size": self.size,
            "learns": self.learns,
            "options": dict(self.options),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Candidate:
        """Raises KeyError, TypeError or ValueError for fields that are none of ours."""
        if fields["learns"] not in get_args(Learns):
            raise ValueError(f"Expected learns as one of {get_args(Learns)}.")
        return cls(**fields)


@dataclass(frozen=True)
class _Named:
    """A backbone as people name it: `mobilenet_v2:alpha=0.35@96`."""

    architecture: Architecture
    options: Mapping[str, Option]
    sizes: tuple[int, ...]

    @property
    def label(self) -> str:
        return labelled(self.architecture.name, self.options)


def labelled(architecture: str, options: Mapping[str, Option]) -> str:
    """Return `architecture:option=value,...`."""
    chosen = ",".join(f"{name}={value}" for name, value in options.items())
    return f"{architecture}:{chosen}" if chosen else architecture


def planned(
    backbones: Sequence[str],
    *,
    sizes: Sequence[int],
    weights: Sequence[str] = (),
    frozen: bool = False,
    tuned: bool = False,
) -> list[Candidate]:
    """Return the candidates that these words ask for, each once, in their order.

    Args:
        backbones: `NAME`, `NAME:option=value` and `NAME@SIZE`; a size of its own replaces `sizes`.
        weights: `imagenet`, `none` or a file for all, or `BACKBONE=...` for one; several for one
            make several candidates. What always starts from nothing takes no part in it.
        frozen, tuned: whether a pretrained backbone is kept as it is, or learns after its head;
            both make two candidates. Neither is as tuned.

    Raises:
        SearchError: an architecture, option or size that is none, weights for what is not there.
    """
    check_names(backbones)
    named = [_parsed(word, sizes) for word in backbones]
    chosen = _weights([each.label for each in named], weights)
    asked: tuple[tuple[bool, Learns], ...] = (frozen, "head"), (tuned or not frozen, "tuned")
    learnt = [learns for is_asked, learns in asked if is_asked]
    found = [
        candidate
        for each in named
        for size in each.sizes
        for candidate in _of(each, size, chosen[each.label], learnt)
    ]
    return [candidate for at, candidate in enumerate(found) if candidate not in found[:at]]


def check_names(backbones: Sequence[str]) -> None:
    """Raise SearchError if one names no architecture. Keras is not imported."""
    for word in backbones:
        check_name(_name_of(word))


def _name_of(word: str) -> str:
    return word.partition("@")[0].partition(":")[0]


def _of(
    named: _Named, size: int, weights: Sequence[str], learnt: Sequence[Learns]
) -> list[Candidate]:
    architecture = named.architecture
    if not architecture.pretrained:
        return [Candidate(architecture.name, NONE, size, "all", named.options)]
    from_nothing: list[Learns] = ["all"]
    return [
        Candidate(architecture.name, each, size, learns, named.options)
        for each in weights
        for learns in (from_nothing if each == NONE else learnt)
    ]


def _parsed(word: str, sizes: Sequence[int]) -> _Named:
    before, at, own = word.partition("@")
    name, _, options = before.partition(":")
    architecture = find(name)
    pairs = [item.partition("=")[::2] for item in options.split(",") if item]
    if at and not all(each.isdecimal() for each in own.split(",")):
        raise SearchError(f"Expected {before}@SIZE, a number of pixels. Received: {word}")
    chosen = [int(each) for each in own.split(",")] if at else sizes
    for size in chosen:
        if not SMALLEST <= size <= LARGEST:
            raise SearchError(
                f"Expected sizes from {SMALLEST} to {LARGEST} pixels. Received: {size}"
            )
    parsed = {option: architecture.parsed(option, text) for option, text in pairs}
    return _Named(architecture, parsed, tuple(chosen))


def _weights(labels: Sequence[str], items: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return what each backbone is to start from; the longest name that fits an item has it."""
    own: dict[str, list[str]] = {label: [] for label in labels}
    for_all: list[str] = []
    for item in items:
        fitting = [label for label in labels if item.startswith(f"{label}=")]
        if fitting:
            label = max(fitting, key=len)
            own[label].append(item.removeprefix(f"{label}="))
        elif _names_another(item):
            raise SearchError(
                f"Expected --weights for one of the backbones {', '.join(labels)}. Received: {item}"
            )
        else:
            for_all.append(item)
    return {label: mine or for_all or [IMAGENET] for label, mine in own.items()}


def _names_another(item: str) -> bool:
    """Whether it is `NAME=...` with the name of an architecture that takes no part."""
    name = item.partition("=")[0].partition(":")[0]
    return "=" in item and name in names()


def sizes_of(candidates: Sequence[Candidate]) -> list[int]:
    """Return the sizes that occur, the smallest first."""
    return sorted({candidate.size for candidate in candidates})
