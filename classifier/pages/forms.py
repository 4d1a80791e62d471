"""What the pages are sent, parsed."""

from collections.abc import Mapping
from typing import Any

from django import forms


class ImageForm(forms.Form):
    """One picture. What is in it is judged by the one decoder, not here."""

    image = forms.FileField(
        # The decoder has a better sentence for an empty file than the field has.
        allow_empty_file=True,
        error_messages={
            "required": "Choose a picture first.",
            "missing": "Choose a picture first.",
            "invalid": "The picture did not arrive as a file. Reload the page and try again.",
        },
    )

    def problem(self) -> str:
        """Return the one sentence that says what is wrong."""
        return str(next(iter(self.errors.values()))[0])


class HistoryForm(forms.Form):
    """Which predictions to show. It comes by GET and may be shared, so anything may be in it."""

    before = forms.UUIDField(required=False)
    after = forms.UUIDField(required=False)

    def __init__(
        self,
        query: Mapping[str, Any],
        *,
        labels: list[tuple[str, str]],
        versions: list[tuple[str, str]],
    ) -> None:
        super().__init__(query)
        self.fields["label"] = _choice("label", [("", "Any label"), *labels])
        self.fields["version"] = _choice("version", [("", "Any version"), *versions])

    def filters(self) -> list[forms.BoundField]:
        """Return the fields that a person fills in."""
        return [self["label"], self["version"]]

    def chosen(self, name: str) -> Any:
        """Return the cleaned value of a field, or None if it was empty or nonsense."""
        return self.cleaned_data.get(name) or None


def _choice(name: str, choices: list[tuple[str, str]]) -> forms.ChoiceField:
    return forms.ChoiceField(
        required=False,
        choices=choices,
        widget=forms.Select(attrs={"class": "form-select"}),
        error_messages={"invalid_choice": f"There is no such {name}: all are shown."},
    )
