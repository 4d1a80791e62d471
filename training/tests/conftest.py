"""Fixtures of the other room that this one's tests ask for too."""

from classifier.tests.conftest import colours

__all__ = ["colours"]
