"""What one candidate is asked to do: as it is written down for the process that does it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from classifier.imaging import InputSpec, ResizeRule
from training.architecture_search.architectures import SearchError
from training.architecture_search.candidates import Candidate
from training.recipes.recipe import Settings

Measured = Literal["validation", "test"]
ASKED = "asked.json"
LARGEST_SEED = 2**32


@dataclass(frozen=True)
class Budget:
    """What every candidate gets alike.

    Attributes:
        epochs: passes over the training pictures, of what does not learn a head alone.
        minutes: instead of `epochs`, about so long; at least one epoch.
        images: pictures to learn from, at most; None for all there are.
        measured: pictures to measure on, at most; None for all there are.
        split: what is measured on.
        dense: ReLUs of the head on a pretrained backbone; 0 for a linear head.
        settings: how weights move and pictures are changed; its epochs are decided here.

    Raises SearchError for what is out of range.
    """

    settings: Settings
    seed: int = 0
    epochs: int = 12
    minutes: float | None = None
    images: int | None = None
    measured: int | None = None
    split: Measured = "validation"
    dense: int = 256

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("images", 1), ("measured", 1), ("dense", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SearchError(f"Expected {name} of at least {least}. Received: {value}")
        if self.minutes is not None and not 0 < self.minutes < float("inf"):
            raise SearchError(f"Expected minutes above 0. Received: {self.minutes}")
        if not 0 <= self.seed < LARGEST_SEED:
            raise SearchError(
                f"Expected a seed from 0 to {LARGEST_SEED - 1}. Received: {self.seed}"
            )

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Source:
    """Where the pictures come from; `digest` is that of the data set as the candidate sees it.

    Raises SearchError for a share of unreadable files that is none.
    """

    name: str
    group_by: str = ""
    max_bad: float | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        if self.max_bad is not None and not 0 <= self.max_bad <= 1:
            raise SearchError(f"Expected --max-bad from 0 to 1. Received: {self.max_bad}")


@dataclass(frozen=True)
class Asked:
    """A candidate, its budget and its data; `weights_digest` is the SHA-256 of its file."""

    candidate: Candidate
    budget: Budget
    source: Source
    weights_digest: str = ""

    @property
    def input(self) -> InputSpec:
        """Return what pictures are made to; other shapes are cropped to their middle."""
        return InputSpec(self.candidate.size, self.candidate.size, resize=ResizeRule.CROP)

    @property
    def folder_name(self) -> str:
        """Return a name that two different things asked never share."""
        words = f"{self.candidate.label}-{self.candidate.starts_from}-{self.candidate.size}"
        slug = "-".join(re.findall(r"[a-z0-9_.]+", f"{words}-{self.candidate.learns}".lower()))
        return f"{slug}-{digest_of(self.identity())[:10]}"

    def identity(self) -> dict[str, Any]:
        """Return what decides the result: contents, not the places they are kept in."""
        candidate = self.candidate.as_json() | {"weights": self.candidate.starts_from}
        return {
            "candidate": candidate,
            "budget": self.budget.as_json(),
            "data": self.source.digest,
            "weights": self.weights_digest,
        }

    def features_name(self) -> str:
        """Return the name of what a frozen backbone gives: the head makes no difference to it."""
        budget = self.budget
        which = [budget.images, budget.measured, budget.split]
        return digest_of({**self.identity(), "budget": which})[:16]

    def write(self, folder: Path) -> None:
        """Write it down in a folder that is made if need be. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        fields = {
            "candidate": self.candidate.as_json(),
            "budget": self.budget.as_json(),
            "source": dataclasses.asdict(self.source),
            "weights_digest": self.weights_digest,
        }
        (folder / ASKED).write_text(json.dumps(fields, indent=1) + "\n")


def read(folder: Path) -> Asked:
    """Return what is asked in a folder.

    Raises:
        SearchError: nothing that can be read.
    """
    try:
        fields = json.loads((folder / ASKED).read_text())
        budget = fields["budget"]
        return Asked(
            candidate=Candidate.from_json(fields["candidate"]),
            budget=Budget(**{**budget, "settings": Settings(**budget["settings"])}),
            source=Source(**fields["source"]),
            weights_digest=fields["weights_digest"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SearchError(f"{folder / ASKED} does not say what is asked: {error}.") from error


def digest_of(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of values that JSON can hold."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
