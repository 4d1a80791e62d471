"""Languages that nobody speaks: syllables drawn once per country, words and dates made of them."""

from __future__ import annotations

from dataclasses import dataclass

from training.datasets.cards.inks import Random, chance, pick

_CONSONANTS = "bcdfghjklmnprstvwxyz"
_VOWELS = ("a", "e", "i", "o", "u", "y", "ou", "ai", "é", "ö", "å", "ü", "ie", "ã")
_SCRIPTS = {  # first letter, how many follow it; capitals where the script has them
    "greek": ("αβγδεζηθικλμνξοπρστυφχψω", True),
    "cyrillic": ("абвгдежзиклмнопрстуфхцчшщыэюя", True),
    "armenian": ("աբգդեզէըթժիլխծկհձղճմյնշո", True),
    "georgian": ("აბგდევზთიკლმნოპჟრსტუფქღყ", False),
    "arabic": ("ابتثجحخدذرزسشصضطظعغفقكلمن", False),
}
_DATES = (
    "{d:02}.{m:02}.{y}",
    "{d:02}/{m:02}/{y}",
    "{y}-{m:02}-{d:02}",
    "{d:02} {m:02} {y}",
    "{d:02} {month} {y}",
    "{d:02}.{m:02}.{short:02}",
)


@dataclass(frozen=True)
class Language:
    """How a country writes: its syllables, its months and the order of its dates."""

    syllables: tuple[str, ...]
    months: tuple[str, ...]
    date_format: str
    latin: bool

    def word(self, random: Random, longest: int = 3) -> str:
        count = int(random.integers(1, longest + 1)) + (1 if chance(random, 0.3) else 0)
        return "".join(pick(random, self.syllables) for _ in range(count))

    def words(self, random: Random, fewest: int, most: int) -> str:
        count = int(random.integers(fewest, most + 1))
        return " ".join(self.word(random) for _ in range(count))

    def name(self, random: Random) -> str:
        return self.words(random, 1, 2).title()

    def date(self, random: Random) -> str:
        year = int(random.integers(1930, 2040))
        return self.date_format.format(
            d=int(random.integers(1, 29)),
            m=int(random.integers(1, 13)),
            y=year,
            short=year % 100,
            month=pick(random, self.months),
        )

    def value(self, random: Random) -> str:
        """Return what may stand in a field: a name, a date, a number, a letter, a measure."""
        kind = random.random()
        if kind < 0.45:
            return self.name(random)
        if kind < 0.7:
            return self.date(random)
        if kind < 0.85:
            return number(random, int(random.integers(5, 12)))
        return pick(random, ["M", "F", "X", f"1,{random.integers(50, 99)} m", "AB+", "178 cm"])


def language(random: Random, *, latin: float = 0.82) -> Language:
    """Return a new language, in Latin letters with this probability."""
    if chance(random, latin):
        count = int(random.integers(12, 40))
        syllables = tuple(_latin_syllable(random) for _ in range(count))
        return _with_months(random, syllables, latin=True)
    letters, capitals = _SCRIPTS[pick(random, sorted(_SCRIPTS))]
    syllables = tuple(
        "".join(pick(random, list(letters)) for _ in range(int(random.integers(2, 4))))
        for _ in range(30)
    )
    return _with_months(random, syllables if capitals else syllables[:20], latin=False)


def _latin_syllable(random: Random) -> str:
    end = pick(random, list(_CONSONANTS)) if chance(random, 0.35) else ""
    vowels = _VOWELS[:6] if chance(random, 0.75) else _VOWELS
    return pick(random, list(_CONSONANTS)) + pick(random, vowels) + end


def _with_months(random: Random, syllables: tuple[str, ...], *, latin: bool) -> Language:
    months = tuple(pick(random, syllables)[:3].upper() for _ in range(12))
    return Language(syllables, months, pick(random, _DATES), latin)


def number(random: Random, length: int) -> str:
    """Return a document's number: letters and digits."""
    letters = "0123456789" if chance(random, 0.5) else "0123456789ABCDEFGHJKLMNPRSTUVWXYZ"
    return "".join(pick(random, list(letters)) for _ in range(length))


def machine_readable(random: Random, width: int, lines: int) -> list[str]:
    """Return lines in the manner of ICAO Doc 9303: names, numbers and fillers, checksums aside."""
    names = "<".join(_capitals(random, 3, 9) for _ in range(int(random.integers(2, 5))))
    first = f"{pick(random, ['P<', 'ID', 'I<', 'AR', 'IR', 'AC'])}{_capitals(random, 3, 3)}"
    holder = names.replace("<", "<<", 1)
    data = number(random, int(random.integers(9, 24)))
    texts = [first + holder, data] if lines == 2 else [first + data, number(random, 15), holder]
    return [text[:width].ljust(width, "<") for text in texts]


def _capitals(random: Random, fewest: int, most: int) -> str:
    count = int(random.integers(fewest, most + 1))
    return "".join(chr(65 + int(letter)) for letter in random.integers(0, 26, count))
