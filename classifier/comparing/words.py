"""What a comparison comes to, in sentences that people understand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from classifier import significance
from classifier.comparing import figures, manifests
from classifier.comparing.figures import Change, Share
from classifier.comparing.results import Pair, Results
from classifier.models import GoldenRun, ModelVersion

# Less than so many times as long or as short is not worth a word: timings vary.
TIMES_WORTH_A_WORD = 1.15
MOST_WATCHED = 3  # labels that a summary names
FEWEST_WORDS_PICTURES = 30  # fewer pictures tell next to nothing

Names = Mapping[str, str]


@dataclass(frozen=True)
class Verdict:
    """What one version comes to beside the first: a sentence, and whether it speaks for it.

    `better` is True or False where something is beyond chance and nothing says the opposite.
    """

    version: ModelVersion
    sentence: str
    better: bool | None


def verdict(
    first: ModelVersion,
    second: ModelVersion,
    names: Names,
    results: Results | None = None,
    runs: tuple[GoldenRun | None, GoldenRun | None] = (None, None),
) -> Verdict:
    """Return the summary of `second` beside `first`; `results` of both on one's own pictures.

    `runs` are theirs on those pictures: they were timed there on the same machine.
    """
    parts = [_on_test(first, second)]
    better = [_test_change(first, second)]
    watched = _worse_on_test(first, second)
    if results is not None and results.pictures:
        pair = results.pair(second)
        parts.insert(0, _on_pictures(pair, len(results.pictures)))
        better.append(_direction(pair))
        place = results.versions.index(second)
        own = [each for each in results.class_changes(place) if each.beyond_chance]
        watched = [each.key for each in own if each.points < 0] or watched
    told = [*parts, *_speed(first, second, runs), *_watch(watched, names)]
    sure = {each for each in better if each is not None}
    sentence = f"v{second.number} is {'; '.join(told)}."
    return Verdict(second, sentence, sure.pop() if len(sure) == 1 else None)


def pair_sentence(pair: Pair) -> str:
    """Return what McNemar's test says of two versions on the same pictures."""
    first, second = f"v{pair.first.number}", f"v{pair.second.number}"
    if not pair.only_first + pair.only_second:
        return f"{second} and {first} are right and wrong on the very same pictures."
    chance = "unlikely to be luck" if pair.beyond_chance else "it may well be luck"
    return (
        f"{second} is right on {_pictures(pair.only_second)} where {first} is wrong, {first} on "
        f"{pair.only_first:,} where {second} is: {chance}, p = {probability(pair.p_value)}."
    )


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"


def probability(p_value: float) -> str:
    """Return a p-value as text: two digits that mean something, or that it is tiny."""
    if p_value < 0.0001:
        return "less than 0.0001"
    return f"{p_value:.1g}" if p_value < 0.01 else f"{p_value:.2f}"


def accuracy_change(first: ModelVersion, second: ModelVersion) -> Change:
    """Return the change of the test accuracy; nothing where the test images differ."""
    tests = [manifests.tested(version.manifest) for version in (first, second)]
    one, other = tests
    if one is None or other is None or not comparable(first, second):
        return Change()
    return figures.change(one.accuracy, other.accuracy)


def class_change(first: Share, second: Share, classes: int) -> Change:
    """Return the change of one label's share; its interval holds for all labels together.

    Each of so many labels is tested at the level divided by their number (Bonferroni).
    """
    return figures.change(first, second, significance.LEVEL / max(1, classes))


def comparable(first: ModelVersion, second: ModelVersion) -> bool:
    """Whether the numbers of both versions' tests may be compared."""
    return manifests.tested_alike([first.manifest, second.manifest])


def times_as_long(
    first: ModelVersion,
    second: ModelVersion,
    runs: tuple[GoldenRun | None, GoldenRun | None] = (None, None),
) -> float | None:
    """Return how many times as long the second takes for a picture; None if nothing tells.

    What was timed on the same machine counts first; else what the manifests say, where both name
    the same machine.
    """
    if (times := times_on_pictures(*runs)) is not None:
        return times
    before, after = (manifests.milliseconds(each.manifest) for each in (first, second))
    return after / before if before and after and timed_alike([first, second]) else None


def times_on_pictures(first: GoldenRun | None, second: GoldenRun | None) -> float | None:
    """Return how many times as long the second took; None unless both ran on one machine."""
    if first is None or second is None or first.host != second.host:
        return None
    if not (first.milliseconds and second.milliseconds):
        return None
    return second.milliseconds / first.milliseconds


def timed_alike(versions: Sequence[ModelVersion]) -> bool:
    """Whether all were timed on machines of one kind, as far as their manifests say."""
    machines = {manifests.processor(version.manifest) for version in versions}
    return len(machines) == 1 and "" not in machines


def _on_pictures(pair: Pair, pictures: int) -> str:
    first = f"v{pair.first.number}"
    numbers = f"{_pictures(pictures)}, p = {probability(pair.p_value)}"
    if pair.beyond_chance:
        return f"{'better' if pair.second_is_better else 'worse'} than {first} on {numbers}"
    few = ", which are few" if pictures < FEWEST_WORDS_PICTURES else ""
    return f"not significantly different from {first} on {numbers}{few}"


def _on_test(first: ModelVersion, second: ModelVersion) -> str:
    if not comparable(first, second):
        return "measured on other test images, so that those numbers cannot be compared"
    change = accuracy_change(first, second)
    if change.value is None:
        return "not measured on test images, or what it is compared with is not"
    if not change.beyond_chance:
        return f"not significantly different from v{first.number} on the test images"
    word = "better" if change.value > 0 else "worse"
    return f"{word} by {abs(change.value) * 100:.1f} points on the test images"


def _speed(
    first: ModelVersion, second: ModelVersion, runs: tuple[GoldenRun | None, GoldenRun | None]
) -> Iterator[str]:
    times = times_as_long(first, second, runs)
    if times is None or 1 / TIMES_WORTH_A_WORD < times < TIMES_WORTH_A_WORD:
        return
    if times > 1:
        yield f"slower by {times:.1f} times"
    else:
        yield f"faster by {1 / times:.1f} times"


def _watch(keys: list[str], names: Names) -> Iterator[str]:
    if keys:
        shown = [f"“{names.get(key, key)}”" for key in keys[:MOST_WATCHED]]
        more = f" and {len(keys) - MOST_WATCHED} more" if len(keys) > MOST_WATCHED else ""
        yield f"watch {', '.join(shown)}{more}"


def _worse_on_test(first: ModelVersion, second: ModelVersion) -> list[str]:
    """Return the labels whose recall fell by more than chance gives, the most first."""
    one, other = (manifests.tested(version.manifest) for version in (first, second))
    if one is None or other is None or not comparable(first, second):
        return []
    both = [key for key in one.classes if key in other.classes]
    changes = {
        key: class_change(one.classes[key].recall, other.classes[key].recall, len(both))
        for key in both
    }
    fell = [(each.value, key) for key, each in changes.items() if each.beyond_chance]
    return [key for value, key in sorted(fell) if value is not None and value < 0]


def _test_change(first: ModelVersion, second: ModelVersion) -> bool | None:
    change = accuracy_change(first, second)
    return change.value > 0 if change.value is not None and change.beyond_chance else None


def _direction(pair: Pair) -> bool | None:
    return pair.second_is_better if pair.beyond_chance else None
