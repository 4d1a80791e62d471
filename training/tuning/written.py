"""The best settings as a recipe: a small module like the others in `training/recipes`."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import keyword
import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import training.recipes
from training.recipes import recipe as recipes
from training.recipes.recipe import BadSetting, Recipe

_WIDTH = 100
_LONGEST_NAME = 60
# Where a class is imported from, where that is not its own module.
_HOMES = {"Settings": "training.recipes.recipe"}


def check_name(name: str) -> None:
    """Raise BadSetting if a recipe cannot be written under this name."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise BadSetting(
            "Expected --write-recipe as lower-case letters, digits and underscores, a letter "
            f"first. Received: {name}"
        )
    if len(name) > _LONGEST_NAME:
        raise BadSetting(
            f"Expected --write-recipe of at most {_LONGEST_NAME} characters. Received: {name}"
        )
    if name in recipes.names() or name in recipes.NOT_RECIPES or _path(name).exists():
        raise BadSetting(
            f"Expected --write-recipe of a name that is not taken. Received: {name}, which is "
            f"{_path(name).name} already"
        )


def write(recipe: Recipe, paragraphs: Iterable[str]) -> Path:
    """Write the recipe's module where recipes are found; return its path.

    Raises:
        BadSetting: there is one of this name.
        OSError: the folder cannot be written, as in a container image.
    """
    check_name(recipe.name)
    path, text = _path(recipe.name), source(recipe, paragraphs)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    importlib.invalidate_caches()  # `train` in this process finds it too
    return path


def source(recipe: Recipe, paragraphs: Iterable[str]) -> str:
    """Return the module's text; a paragraph that is indented stays as it is."""
    docstring = "\n\n".join(
        text if text.startswith(" ") else textwrap.fill(text, _WIDTH - 2) for text in paragraphs
    )
    parts = [f'"""{_safe(docstring)}\n"""', "\n".join(_imports(recipe))]
    value = _call(recipe, 0)
    if recipe.card:
        parts.append(f'_CARD = """\n{_safe(recipe.card)}\n"""')
        value = value.replace(repr_of(recipe.card), "_CARD.strip()")
    return "\n\n".join([*parts, f"RECIPE = {value}"]) + "\n"


def _path(name: str) -> Path:
    return Path(training.recipes.__path__[0]) / f"{name}.py"


def _safe(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', r"\"\"\"")


def _imports(recipe: Recipe) -> list[str]:
    homes: dict[str, set[str]] = {}
    for kind in _classes(recipe):
        homes.setdefault(_HOMES.get(kind.__name__, kind.__module__), set()).add(kind.__name__)
    return [
        f"from {home} import {', '.join(sorted(names))}" for home, names in sorted(homes.items())
    ]


def _classes(value: Any) -> set[type]:
    if isinstance(value, enum.Enum):
        return {type(value)}
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return set()
    return {type(value)}.union(*(_classes(inner) for _, inner in _told(value)))


def _told(value: Any) -> list[tuple[str, Any]]:
    """Return the fields that a person would write: those that are not what they are anyway."""
    return [
        (item.name, getattr(value, item.name))
        for item in dataclasses.fields(value)
        if getattr(value, item.name) != _default(item)
    ]


def _default(item: dataclasses.Field[Any]) -> Any:
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return item.default


def _call(value: Any, depth: int) -> str:
    """Return a dataclass as the call that makes it, an argument a line."""
    lines = [f"{name}={_source(inner, depth + 1, name)}" for name, inner in _told(value)]
    return _spread(f"{type(value).__name__}(", lines, ")", depth)


def _source(value: Any, depth: int, name: str) -> str:
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if dataclasses.is_dataclass(value):
        return _call(value, depth)
    if isinstance(value, Mapping):
        items = [f"{repr_of(key)}: {_source(inner, depth + 1, '')}" for key, inner in value.items()]
        line = f"{{{', '.join(items)}}}"
        taken = 4 * depth + len(name) + 2
        return line if taken + len(line) <= _WIDTH else _spread("{", items, "}", depth)
    return repr_of(value)


def _spread(opening: str, lines: Iterable[str], closing: str, depth: int) -> str:
    indent = " " * 4 * (depth + 1)
    body = "".join(f"{indent}{line},\n" for line in lines)
    return f"{opening}\n{body}{' ' * 4 * depth}{closing}"


def repr_of(value: Any) -> str:
    """Return a plain value as the formatter has it: text in double quotes."""
    if isinstance(value, str):
        inner = repr(value)[1:-1].replace("\\'", "'")
        return f'"{inner}"' if '"' not in inner else repr(value)
    if isinstance(value, tuple):
        items = ", ".join(map(repr_of, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    return repr(value)
