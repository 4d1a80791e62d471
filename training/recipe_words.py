"""What a person reads before choosing: a recipe's own words, and what each setting is. Pure."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training import architectures
from training.datasets import cifar10, front_back, id_documents, sources, tables
from training.recipes import recipe as recipes
from training.recipes.recipe import Recipe, Settings

LONGEST_NAME = 200
STARTS = {"none": "nothing", "imagenet": "ImageNet's weights"}
# What most people change; the others are folded away.
USUAL = ("epochs", "batch_size", "learning_rate", "patience", "validation")


@dataclass(frozen=True)
class Described:
    """A recipe in words: its title, its docstring's first paragraph, and the rest of it."""

    recipe: Recipe
    summary: str
    more: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Settings that belong together, each with a sentence on what it is."""

    title: str
    settings: tuple[tuple[str, str], ...]


def described() -> list[Described]:
    """Return every recipe in words, sorted by name."""
    return [describe(recipes.find(name)) for name in recipes.names()]


def describe(recipe: Recipe) -> Described:
    module = importlib.import_module(f"training.recipes.{recipe.name}")
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(module.__doc__ or recipe.title))
    plain = [_plain(text) for text in paragraphs if not text.startswith(" ")]
    return Described(recipe, plain[0], tuple(plain[1:]))


def about(recipe: Recipe, *, columns: int = 100) -> str:
    """Return all there is to know before training: the recipe's docstring, then its settings."""
    module = importlib.import_module(f"training.recipes.{recipe.name}")
    values = recipe.settings.as_json()
    lines = [inspect.cleandoc(module.__doc__ or recipe.title), ""]
    lines += [
        f"{name:13s} {value}"
        for name, value in (
            ("network", sized(recipe.architecture)),
            ("starts from", STARTS.get(recipe.weights, recipe.weights)),
            ("data", recipe.dataset or "your own, by --dataset"),
            ("model", recipe.model_name if recipe.dataset else "named as the data set, or --name"),
        )
    ]
    for group in explained():
        lines += ["", group.title]
        for name, meaning in group.settings:
            lines.append(f"  {name}={json.dumps(values[name]).strip(chr(34))}")
            lines += textwrap.wrap(
                meaning, columns, initial_indent=" " * 6, subsequent_indent=" " * 6
            )
    return "\n".join(lines)


@functools.cache
def explained() -> tuple[Group, ...]:
    """Return the settings in groups, as the docstring of `Settings` has them."""
    groups: list[tuple[str, list[str]]] = []
    for line in inspect.cleandoc(Settings.__doc__ or "").splitlines():
        if line and not line.startswith(" "):
            groups.append((line, []))
        elif line.strip() and groups:
            groups[-1][1].append(line)
    return tuple(
        Group(title.partition(" (")[0], items)
        for title, lines in groups
        if (items := _items(lines))
    )


def _items(lines: Sequence[str]) -> tuple[tuple[str, str], ...]:
    items: list[tuple[list[str], str]] = []
    for line in lines:
        match = re.match(r"    ([a-z0-9_, ]+): (.*)", line)
        if match and not line.startswith("     "):
            items.append((match[1].split(", "), match[2]))
        elif items:
            names, text = items[-1]
            items[-1] = (names, f"{text} {line.strip()}")
    return tuple((name, _sentence(text)) for names, text in items for name in names)


def _sentence(text: str) -> str:
    # A setting's value stays as it is written.
    return _plain(text) if text.startswith("`") else text[:1].upper() + _plain(text)[1:]


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


def networks(recipe: Recipe) -> list[str]:
    """Return the architectures that suit a recipe, sorted.

    What starts from ImageNet's weights takes one that has some; what has pictures of a size of its
    own takes none of those that were made for the 32 pixels of CIFAR-10.
    """
    if recipe.weights != "none":
        return sorted(architectures.PRETRAINED)
    small = recipe.input is None
    return [name for name in architectures.names() if small or not name.startswith(cifar10.NAME)]


@functools.cache
def sized(network: str) -> str:
    """Return a network's name with the parameters, in millions, that its docstring gives, if any.

    Read from the source: to import it would import Keras.
    """
    spec = importlib.util.find_spec(f"{architectures.__name__}.{network}")
    if spec is None or spec.origin is None:
        return network
    words = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    found = re.search(r"([0-9][0-9.,]*)( M)?\s+parameters", words)
    if found is None:
        return network
    count = float(found[1].replace(",", "")) / (1 if found[2] else 1e6)
    return f"{network} ({count:.1f} M)"


def is_here(recipe: Recipe, root: Path) -> bool:
    """Whether the recipe's own data lie under DATASETS_ROOT; drawn ones always do."""
    source = recipe.dataset.partition(":")[0]
    if source in (front_back.NAME, id_documents.NAME):
        return True
    if source == cifar10.NAME:
        return cifar10.prepared_file(root).is_file()
    return bool(source) and any((root / f"{source}{kind}").exists() for kind in sources.KEPT)


def kept(root: Path) -> list[str]:
    """Return the folders, zips and tables under DATASETS_ROOT that may be trained on, by name.

    Nothing deeper and nothing hidden: what is chosen in a browser is one of these names, never a
    path of the server.
    """
    try:
        found = sorted(root.iterdir())
    except OSError:
        return []
    return [path.name for path in found if len(path.name) <= LONGEST_NAME and _may_be_data(path)]


def _may_be_data(path: Path) -> bool:
    if path.name.startswith((".", "_")):
        return False
    return path.is_dir() or path.suffix.lower() in (".zip", *tables.SUFFIXES)
