"""What the admin's front page tells of learning: what is training, what waits, what came out."""

from __future__ import annotations

from typing import Any

from django import template

from training import descriptions
from training.models import Outcome, TrainingRequest, TrainingRun

register = template.Library()

MOST_RUNNING, NEWEST, MOST_WAITING = 5, 3, 500


@register.inclusion_tag("admin/training/at_a_glance.html")
def training_at_a_glance() -> dict[str, Any]:
    """Return the runs that go on and what will be one, the newest that ended, how many wait."""
    runs = TrainingRun.objects.select_related("version__model").defer("history")
    running = runs.filter(outcome=Outcome.RUNNING)[:MOST_RUNNING]
    return {
        "running": [(run, descriptions.progress(run)) for run in running],
        "preparing": TrainingRequest.objects.running().filter(run=None)[:MOST_RUNNING],
        "ended": runs.exclude(outcome=Outcome.RUNNING)[:NEWEST],
        "waiting": TrainingRequest.objects.waiting()[: MOST_WAITING + 1].count(),
        "most_waiting": MOST_WAITING,
    }
