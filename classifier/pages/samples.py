"""Pictures to try at once, drawn by `scripts/draw_samples.py`: no photo of anybody's is needed."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.staticfiles import finders

FOLDER = "img/samples"


@dataclass(frozen=True)
class Sample:
    """A drawn picture, and the registered model that knows what it shows."""

    key: str
    model: str
    shows: str
    extension: str = "jpg"

    @property
    def path(self) -> str:
        """Where it is among the static files."""
        return f"{FOLDER}/{self.key}.{self.extension}"

    @property
    def name(self) -> str:
        return f"sample-{self.key}.{self.extension}"

    def read(self) -> bytes:
        """Return its bytes. Raises FileNotFoundError if the static files are not whole."""
        found = finders.find(self.path)
        if not isinstance(found, str):
            raise FileNotFoundError(f"The sample {self.path} is not among the static files.")
        with open(found, "rb") as file:
            return file.read()


SAMPLES: Sequence[Sample] = (
    Sample("airplane", "cifar10", "An airliner in the sky"),
    Sample("cat", "cifar10", "A cat"),
    Sample("automobile", "cifar10", "A car in a street"),
    Sample("bird", "cifar10", "A bird on a twig"),
    Sample("ship", "cifar10", "A freighter at sea"),
    Sample("dog", "cifar10", "A dog"),
    Sample("frog", "cifar10", "A frog"),
    Sample("horse", "cifar10", "A horse on a meadow"),
    Sample("front-40", "front-back", "An invented identity card"),
    Sample("back-5", "front-back", "The other side of an invented card"),
    Sample("front-18", "front-back", "Another invented identity card"),
    Sample("back-3", "front-back", "The other side of another card"),
)


def of_model(name: str) -> list[Sample]:
    """Return the samples for a registered model; none for one that was not shipped."""
    return [sample for sample in SAMPLES if sample.model == name]


def named(key: str) -> Sample | None:
    """Return the sample of this key, if there is one."""
    return next((sample for sample in SAMPLES if sample.key == key), None)
