"""What the manifests of two versions say of each other's worth, without a picture being looked at.

A manifest's metrics are objects "by custom": what is not there, or not as it should be, is left
out here and spoils nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from classifier.comparing.figures import Bin, ClassFigures, Measured, Share, Unsure
from classifier.measured import LEVELS

Manifest = Mapping[str, Any]
# What lies beyond was never measured: it is left out, before a sum overflows.
LEAST, LARGEST = 1e-9, 10**12


def tested(manifest: Manifest) -> Measured | None:
    """Return what was measured on the test images; None if nothing that can be compared."""
    test = _object(_object(manifest.get("metrics")).get("test"))
    images, accuracy = _count(test.get("images")), _share(test.get("accuracy"))
    if not images or accuracy is None:
        return None
    return Measured(
        accuracy=_of(accuracy, images),
        loss=_number(test.get("loss")),
        ece=_share(test.get("ece")),
        top3=_share(test.get("top3_accuracy")),
        bins=_bins(test.get("reliability")),
        levels=_levels(test, images),
        unsure=_unsure(manifest),
        classes=_classes(test),
    )


def tested_alike(manifests: Sequence[Manifest]) -> bool:
    """Whether all were measured on the same test images, as far as their manifests say."""
    return len({_test_images(manifest) for manifest in manifests}) == 1


def test_images(manifest: Manifest) -> str:
    """Return in words what a version was tested on."""
    name, digest, images = _test_images(manifest)
    of = f" of {name}" if name else ""
    known = f" ({digest[:12]})" if digest else ""
    return f"{images:,} images{of}{known}" if images else "nothing"


def milliseconds(manifest: Manifest) -> float | None:
    """Return the median for one image that was measured when the version was made."""
    return _number(_object(_object(manifest.get("metrics")).get("milliseconds")).get("median"))


def processor(manifest: Manifest) -> str:
    """Return what the version was made and timed on; empty if the manifest does not say."""
    origin = _object(_object(manifest.get("recipe")).get("origin"))
    return " ".join(str(origin[key]) for key in ("processor", "cores") if key in origin)


def served_bytes(manifest: Manifest) -> int | None:
    """Return the size of the network as it serves."""
    files = [file for file in manifest.get("files", ()) if _object(file).get("role") == "serve"]
    return _count(files[0].get("bytes")) if files else None


def parameters(manifest: Manifest) -> int | None:
    return _count(_object(_object(manifest.get("metrics")).get("size")).get("parameters"))


def threshold(manifest: Manifest) -> float | None:
    """Return the confidence under which the version had better say *not sure*."""
    return _share(_object(manifest.get("not_sure")).get("threshold"))


def learnt_from_corrections(manifest: Manifest) -> bool:
    """Whether the version was trained on what people said about pictures: a snapshot."""
    return str(_object(manifest.get("dataset")).get("name", "")).startswith("snapshot:")


def _test_images(manifest: Manifest) -> tuple[str, str, int]:
    dataset = _object(manifest.get("dataset"))
    test = _object(_object(manifest.get("metrics")).get("test"))
    name, digest = (dataset.get(key) for key in ("name", "digest"))
    return (
        name if isinstance(name, str) else "",
        digest if isinstance(digest, str) else "",
        _count(test.get("images")) or 0,
    )


def _levels(test: Manifest, images: int) -> dict[str, Share]:
    levels = _object(test.get("levels"))
    found = {}
    for level in LEVELS:
        share = _share(_object(levels.get(level)).get("share"))
        precision = _share(_object(levels.get(level)).get("precision"))
        if share is not None:
            found[level] = _of(precision or 0.0, round(share * images))
    return found


def _unsure(manifest: Manifest) -> Unsure | None:
    if threshold(manifest) is None:
        return None
    test = _object(_object(manifest.get("not_sure")).get("test"))
    images, unanswered = _count(test.get("images")), _share(test.get("unanswered"))
    if not images or unanswered is None:
        return None
    return Unsure(_of(1 - unanswered, images), _share(test.get("precision")))


def _classes(test: Manifest) -> dict[str, ClassFigures]:
    found = {}
    for key, figures in _object(test.get("per_class")).items():
        recall, precision = (_share(_object(figures).get(k)) for k in ("recall", "precision"))
        images = _count(_object(figures).get("images"))
        if recall is None or precision is None or images is None:
            continue
        right = round(recall * images)
        # Of answers that are never right a precision of 0 does not say how many there were.
        answers = round(right / precision) if precision > LEAST else _column(test, str(key))
        found[str(key)] = ClassFigures(images, max(answers, right), right)
    return found


def _column(test: Manifest, key: str) -> int:
    """Return how often a label was answered, by the confusion matrix; 0 without one."""
    keys, rows = list(_object(test.get("per_class"))), test.get("confusion")
    if not isinstance(rows, list):
        return 0
    at = keys.index(key)
    cells = [row[at] for row in rows if isinstance(row, list) and len(row) > at]
    return sum(_count(cell) or 0 for cell in cells)


def _bins(value: object) -> tuple[Bin, ...]:
    found = []
    for item in value if isinstance(value, list) else ():
        images = _count(_object(item).get("images"))
        confidence, accuracy = (_share(_object(item).get(k)) for k in ("confidence", "accuracy"))
        if images and confidence is not None and accuracy is not None:
            found.append(Bin(images, confidence, accuracy))
    return tuple(found)


def _of(share: float, count: int) -> Share:
    return Share(round(share * count), count)


def _object(value: object) -> Manifest:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -LARGEST <= value <= LARGEST else None


def _share(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and 0 <= number <= 1 else None


def _count(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number >= 0 and number.is_integer() else None
