"""What a network can do in a search: asked of its module, kept in no table."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from training import architectures

SHAPE = ("height", "width")
HEAD = "dense"  # the head's width, which a search decides for all alike
Option = bool | int | float | str


class SearchError(ValueError):
    """What was asked for is no search that can be made; `str()` is a sentence to act on."""


@dataclass(frozen=True)
class Architecture:
    """A module of `training.architectures` that builds a network.

    Attributes:
        about: the first sentence of its docstring.
        options: what its `build` takes besides labels, height and width, with the defaults.
        pretrained: whether it can start from weights that something else was trained to.
        freezes: whether its backbone can be kept as it is while the head learns.
    """

    name: str
    about: str
    module: ModuleType
    options: Mapping[str, Any]
    pretrained: bool
    freezes: bool

    def parsed(self, option: str, text: str) -> Option:
        """Return an option's value, of the kind that its default has; SearchError if it is none."""
        default = self.options.get(option)
        if option == HEAD or not isinstance(default, Option):
            known = [name for name in self.options if isinstance(self.options[name], Option)]
            raise SearchError(
                f"Expected an option of {self.name}: "
                f"{', '.join(name for name in known if name != HEAD) or 'it has none'}. "
                f"Received: {option or text!r}"
            )
        kinds = {"true": True, "false": False} if isinstance(default, bool) else {}
        try:
            return kinds[text.lower()] if kinds else type(default)(text)
        except (ValueError, KeyError) as error:
            kind = type(default).__name__
            raise SearchError(
                f"Expected {option} of {self.name} as {kind}. Received: {text!r}"
            ) from error


def find(name: str) -> Architecture:
    """Return the architecture of this name.

    Raises:
        SearchError: naming those there are.
    """
    check_name(name)
    module = importlib.import_module(f"training.architectures.{name}")
    options = {
        option: parameter.default
        for option, parameter in _parameters(module, "build").items()
        if parameter.kind is parameter.KEYWORD_ONLY and option not in SHAPE
    }
    return Architecture(
        name=name,
        about=_first_paragraph(module.__doc__),
        module=module,
        options=options,
        pretrained="weights" in _parameters(module, "prepare"),
        freezes=hasattr(module, "freeze"),
    )


def check_name(name: str) -> None:
    """Raise SearchError, naming those there are, for no architecture. Keras is not imported."""
    known = architectures.names()
    if name not in known:
        raise SearchError(f"Expected one of the architectures {', '.join(known)}. Received: {name}")


def about(name: str) -> str:
    """Return what an architecture is, as `find` does, read from its file: without Keras."""
    spec = importlib.util.find_spec(f"training.architectures.{name}")
    path = spec.origin if spec else None
    return _first_paragraph(ast.get_docstring(ast.parse(Path(path).read_text())) if path else "")


def _first_paragraph(docstring: str | None) -> str:
    return " ".join((docstring or "").partition("\n\n")[0].split())


def _parameters(module: ModuleType, function: str) -> Mapping[str, inspect.Parameter]:
    found: Callable[..., Any] | None = getattr(module, function, None)
    return inspect.signature(found).parameters if found else {}
