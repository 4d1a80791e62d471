"""Why a picture is refused: a code, and a sentence a person can act on."""

from enum import StrEnum


class ErrorCode(StrEnum):
    """Why a picture was refused."""

    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    OUT_OF_MEMORY = "out_of_memory"
    TRUNCATED = "truncated"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    UNSUPPORTED_FORMAT = "unsupported_format"


class ImageError(ValueError):
    """A picture was refused: `code` says why, `str()` is a sentence a person can act on."""

    def __init__(self, code: ErrorCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Busy(ImageError):
    """Large pictures of others are being decoded; the same picture may do well a little later."""

    def __init__(self) -> None:
        sentence = (
            "Other large pictures are being read just now. "
            "Try again in a moment, or send the picture smaller."
        )
        super().__init__(ErrorCode.OUT_OF_MEMORY, sentence)


def too_many_bytes(count: int, most: int) -> ImageError:
    """Return the error of a file with so many bytes, for who need not read it to know."""
    return ImageError(
        ErrorCode.TOO_MANY_BYTES,
        f"The file has {count / 1e6:,.1f} MB; at most {most / 1e6:,g} MB "
        "are accepted. Save the picture smaller or with a lower quality.",
    )


def damaged(name: str) -> ImageError:
    """Return the error of a file of this format that nobody could read."""
    return ImageError(
        ErrorCode.NOT_AN_IMAGE,
        f"This {name} file is damaged, or of a rare kind that cannot be read here. "
        "Open it in a picture program, save it as JPEG or PNG, and try that.",
    )


def truncated() -> ImageError:
    """Return the error of a file whose end is missing."""
    return ImageError(
        ErrorCode.TRUNCATED,
        "The file ends before the picture does. Copy or download it again and try once more.",
    )


def too_many_pixels(finding: str) -> ImageError:
    """Return the error of what is too large to decode, as the finding says."""
    return ImageError(
        ErrorCode.TOO_MANY_PIXELS, f"{finding} Scale the picture down in a picture program first."
    )
