"""Many pictures at once: where they come from, the engine that classifies them, what it writes."""

from classifier.bulk.engine import Item, Outcome, Picture, ReadError, run

__all__ = ["Item", "Outcome", "Picture", "ReadError", "run"]
