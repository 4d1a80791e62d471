"""Correcting a prediction, wherever one is shown: `{% correct prediction %}`."""

from typing import Any

from django import template

from classifier.models import Prediction
from classifier.pages import correcting

register = template.Library()


@register.inclusion_tag("pages/_correct.html", takes_context=True)
def correct(context: dict[str, Any], prediction: Prediction) -> dict[str, Any]:
    """Show what people said of a prediction and, to whoever may, the form to say it.

    The page brings `css/correct.css` and `js/correct.js` along.
    """
    request = context["request"]
    return {
        "correcting": correcting.correcting(request, prediction),
        "request": request,
        "csrf_token": context.get("csrf_token"),
    }
