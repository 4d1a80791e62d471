"""Fixtures of the other room that this one's tests ask for too."""

from classifier.tests.conftest import colours
from training.tests.commands import no_data, pets, roots, train

__all__ = ["colours", "no_data", "pets", "roots", "train"]
