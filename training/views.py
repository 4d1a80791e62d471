"""The views of a picture that a served graph averages over: test-time augmentation, declared.

Each view is the picture moved by whole pixels (what comes in is its reflection), mirrored or
not, with a weight; logits are averaged, before temperature and softmax. `mirrored_shifted` is
what airbench94 does at test time (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single
GPU"): the picture in both orientations counts half, moved by a pixel up-left and down-right the
other half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.datasets.dataset import Images
from training.recipes.recipe import Views


@dataclass(frozen=True)
class View:
    """Rows and columns to move by (-1, 0 or 1), whether to mirror, and what it counts."""

    down: int
    right: int
    mirrored: bool
    weight: float


def _both_ways(down: int, right: int, weight: float) -> tuple[View, View]:
    return View(down, right, False, weight / 2), View(down, right, True, weight / 2)


VIEWS: dict[Views, tuple[View, ...]] = {
    "one": (View(0, 0, False, 1.0),),
    "mirrored": _both_ways(0, 0, 1.0),
    "mirrored_shifted": (
        *_both_ways(0, 0, 0.5),
        *_both_ways(-1, -1, 0.25),
        *_both_ways(1, 1, 0.25),
    ),
}


def see(images: Images, view: View) -> Images:
    """Return pictures (N, H, W, 3) as the view shows them."""
    _, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    top, left = 1 - view.down, 1 - view.right
    seen = padded[:, top : top + height, left : left + width]
    return np.ascontiguousarray(seen[:, :, ::-1] if view.mirrored else seen)
