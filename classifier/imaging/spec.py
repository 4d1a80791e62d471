"""What a model takes, and by which rule a picture becomes that: part of a bundle's manifest."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

# Raised whenever the pixels that come out of a picture may change.
DECODER_VERSION = 1

_LARGEST_SIDE = 4096


class ResizeRule(StrEnum):
    """How a picture that is not of the input's shape is made to fit it."""

    SQUASH = "squash"
    CROP = "crop"
    PAD = "pad"


class Interpolation(StrEnum):
    """How a pixel is computed from the pixels under it."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


@dataclass(frozen=True)
class InputSpec:
    """What a model takes: uint8 arrays of (height, width, channels), and how pictures become that.

    Raises ValueError for sides outside 1..4096, channels other than 3 and a decoder version that
    this decoder does not know.
    """

    height: int
    width: int
    channels: int = 3
    resize: ResizeRule = ResizeRule.SQUASH
    interpolation: Interpolation = Interpolation.BICUBIC
    decoder_version: int = DECODER_VERSION

    def __post_init__(self) -> None:
        _check_integer("height", self.height, _LARGEST_SIDE)
        _check_integer("width", self.width, _LARGEST_SIDE)
        _check_integer("decoder_version", self.decoder_version, DECODER_VERSION)
        if self.channels != 3 or isinstance(self.channels, bool):
            raise ValueError(f"Expected channels to be 3 (RGB). Received: {self.channels!r}")

    def to_json(self) -> dict[str, int | str]:
        """The spec as JSON-ready values, as they stand in a manifest."""
        return {
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "resize": self.resize.value,
            "interpolation": self.interpolation.value,
            "decoder_version": self.decoder_version,
        }

    @classmethod
    def from_json(cls, value: object) -> "InputSpec":
        """The spec that `to_json` gave; ValueError if a name is missing, unknown or nonsense."""
        expected = set(cls.__dataclass_fields__)
        if not isinstance(value, Mapping) or set(value) != expected:
            raise ValueError(f"Expected an input spec with {sorted(expected)}. Received: {value!r}")
        return cls(
            height=value["height"],
            width=value["width"],
            channels=value["channels"],
            resize=_member(ResizeRule, value["resize"]),
            interpolation=_member(Interpolation, value["interpolation"]),
            decoder_version=value["decoder_version"],
        )


def scaled_size(spec: InputSpec, width: float, height: float) -> tuple[int, int]:
    """The (width, height) at which the picture's pixels land in the input: less only when padded.

    Both sides of the *original* must reach that size for a picture not to be enlarged, whichever
    the rule: a crop's short side fills the input, a padded picture's long side does.
    """
    if spec.resize is not ResizeRule.PAD:
        return spec.width, spec.height
    scale = min(spec.width / width, spec.height / height)
    return (
        min(spec.width, max(1, round(width * scale))),
        min(spec.height, max(1, round(height * scale))),
    )


def _check_integer(name: str, value: object, largest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise ValueError(f"Expected {name} to be an integer in 1..{largest}. Received: {value!r}")


def _member[E: StrEnum](kind: type[E], value: object) -> E:
    if not isinstance(value, str) or value not in list(kind):
        raise ValueError(f"Expected one of {[str(each) for each in kind]}. Received: {value!r}")
    return kind(value)
