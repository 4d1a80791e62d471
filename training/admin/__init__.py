"""The admin's pages on learning: what waits and runs, what came out, the frozen corrections."""

from training.admin import requests, runs, snapshots

__all__ = ["requests", "runs", "snapshots"]
