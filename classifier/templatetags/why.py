"""Why an answer, wherever one is shown: `{% include "pages/_why.html" %}` beside `answer`."""

from typing import Any

from django import template

from classifier.pages.answers import Answer
from classifier.pages.why import Panel

register = template.Library()


@register.simple_tag(takes_context=True)
def why_panel(context: dict[str, Any], answer: Answer) -> Panel:
    """Return what the panel of this answer asks and shows."""
    request = context.get("request")
    return Panel.of(answer, request.GET if request is not None else {})
