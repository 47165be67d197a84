"""What a feature's ten tokens have in common as texts: numbers, years, dates, code, names, endings, scripts.

A pattern counts where at least ``SHARE`` of the tokens match it and that would be rare if tokens were drawn from the
vocabulary: in a vocabulary that is half Chinese, ten Chinese tokens say less than in one that is English.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from math import ceil, comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREFIX = "pattern:"
SHARE = 0.5  # of a feature's tokens
CHANCE = 1e-5  # that as many of the tokens match by accident
ENDINGS = (4, 3, 2)  # characters of an ending, the longest first
WORDS = 4  # different words that have to share an ending

_MONTHS_AND_DAYS = """
january february march april june july august september october november december jan feb apr jun jul aug sep sept oct
nov dec monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thurs fri
januar februar märz mai juni juli oktober dezember montag dienstag mittwoch donnerstag freitag samstag sonntag
janvier février mars avril juin juillet août septembre octobre novembre décembre lundi mardi mercredi jeudi vendredi
samedi dimanche enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre lunes martes
miércoles jueves viernes sábado domingo gennaio febbraio aprile maggio giugno luglio settembre ottobre dicembre lunedì
martedì mercoledì giovedì venerdì sabato domenica janeiro fevereiro março maio junho julho setembro outubro dezembro
segunda terça quarta quinta sexta maart mei augustus maandag dinsdag woensdag donderdag vrijdag zaterdag zondag
января февраля марта апреля мая июня июля августа сентября октября ноября декабря январь февраль март апрель июнь июль
август сентябрь октябрь ноябрь декабрь понедельник вторник среда четверг пятница суббота воскресенье
一月 二月 三月 四月 五月 六月 七月 八月 九月 十月 十一月 十二月 星期 周一 周二 周三 周四 周五 周六 周日
月曜日 火曜日 水曜日 木曜日 金曜日 土曜日 日曜日 월요일 화요일 수요일 목요일 금요일 토요일 일요일
يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر
"""
_KEYWORDS = """
def elif lambda async await const struct enum typedef typename namespace nullptr null none nil bool boolean int int32
int64 uint8 uint32 uint64 float32 float64 char void func fn impl mut pub println printf fprintf sprintf scanf stdin
stdout stderr args kwargs argv argc init self cls isinstance len str repr dict tuple numpy ndarray dtype json xml html
css http https url uri href src img div span ul li td tr th px rgb rgba svg utf ascii stdlib stdio iostream cout cin
endl foreach elseif endif ifdef ifndef endforeach varchar sql mysql sqlite regex obj ptr iter idx tmp param params
attr attrs config cfg env usr lib bin www github readme dev eof instanceof extends implements throws readonly async
yield
"""
DATES = frozenset(_MONTHS_AND_DAYS.split())
KEYWORDS = frozenset(_KEYWORDS.split())

_NUMBER = re.compile(r"[\d.,٫٬]*\d[\d.,٫٬]*\Z")
_YEAR = re.compile(r"(1[0-9]|20)\d\d\Z")
_IDENTIFIER = re.compile(
    r"""[a-z]+[A-Z]\w*\Z          # camelCase
    | [A-Z][a-z]+[A-Z][a-z]\w*\Z  # PascalCase
    | \w*[^\W\d]_\w*\Z | _+\w*[^\W\d]\w*\Z  # snake_case
    | [.:@$\#]{1,2}[^\W\d]\w+\Z   # .member, ::name, @decorator, $variable
    | \w+[(\[{<]\W*\Z | [(\[{<]\w+\Z  # call(
    | \w+[)\]}>;=]+\W*\Z""",
    re.VERBOSE,
)

Test = Callable[[str], bool]


def _is_number(text: str) -> bool:
    return bool(_NUMBER.match(text)) or all(unicodedata.category(c) in ("Nd", "Nl", "No") for c in text)


def _is_punctuation(text: str) -> bool:
    return all(unicodedata.category(c)[0] in "PS" for c in text)


def _is_name(text: str) -> bool:
    return len(text) >= 2 and text[0].isupper() and text.isalpha() and text[1:].islower()


def _is_capitals(text: str) -> bool:
    return len(text) >= 2 and text.isalpha() and text.isupper()


# By the token's text without the space around it; of patterns that as many tokens match, the first counts.
_TESTS: dict[str, Test] = {
    "year": lambda text: bool(_YEAR.match(text)),
    "number": _is_number,
    "date": lambda text: text.casefold().rstrip(".") in DATES,
    "code": lambda text: text in KEYWORDS or bool(_IDENTIFIER.match(text)),
    "punctuation": _is_punctuation,
    "bytes": lambda text: "\ufffd" in text,
    "capitals": _is_capitals,
    "accented": lambda text: script(text) == "Latin" and not text.isascii(),
    "name": _is_name,
}


_MEANINGS = {
    "whitespace": "are space alone",
    "year": "are years",
    "number": "are numbers",
    "date": "are names of months or days, in any of some twelve languages",
    "code": "are identifiers or keywords of program code",
    "punctuation": "are punctuation or symbols",
    "bytes": "are parts of a character",
    "capitals": "are in capitals",
    "accented": "are Latin letters, some with accents",
    "name": "begin with a capital",
}


def describe(pattern: str) -> str:
    """What a pattern's name means, as a sentence."""
    kind = pattern.removeprefix(PREFIX)
    what, _, which = kind.partition(":")
    meaning = {"script": f"are in {which} script", "ending": f"end in {which}"}.get(what) or _MEANINGS[kind]
    return f"at least half of the feature's ten tokens {meaning}"


class Patterns:
    """The patterns of a vocabulary: ``texts`` is what each token adds to a text, ``special`` the ids left out."""

    def __init__(self, texts: Sequence[str], special: Collection[int] = ()) -> None:
        self._matches: dict[str, NDArray[np.bool_]] = {}  # by pattern, the more telling first: which tokens match
        for name in ("whitespace", *_TESTS):
            self._matches[name] = np.zeros(len(texts), np.bool_)
        words = [text.strip() for text in texts]
        for token, word in enumerate(words):
            if token not in special:
                for name in _kinds(word):
                    self._matches.setdefault(name, np.zeros(len(texts), np.bool_))[token] = True
        self._endings = [_Endings(words, length) for length in ENDINGS]
        numbers: dict[str, int] = {}
        self._words = np.array([numbers.setdefault(word.casefold(), len(numbers)) for word in words], np.int64)

    def find(self, tokens: NDArray[np.int64]) -> list[tuple[str, float] | None]:
        """For each feature, by its tokens [features, n], the pattern that most of them match and their share."""
        features, width = tokens.shape
        best = np.zeros(features, np.int64)  # tokens that match
        found = np.full(features, "", object)
        for name, matches in self._matches.items():
            counts = matches[tokens].sum(axis=1)
            better = (counts > best) & (counts >= _enough(width, float(matches.mean())))
            best[better], found[better] = counts[better], PREFIX + name
        for endings in self._endings:
            counts, which = endings.shared(tokens, self._words)
            better = (counts > best) & (counts >= _enough(width, endings.usual))
            best[better] = counts[better]
            found[better] = [f"{PREFIX}ending:-{endings.names[number]}" for number in which[better].tolist()]
        return [(name, count / width) if name else None for name, count in zip(found, best.tolist(), strict=True)]


class _Endings:
    """The last ``length`` letters of words of two letters more: ``names``; ``usual`` is the share of the commonest."""

    def __init__(self, words: Sequence[str], length: int) -> None:
        numbers: dict[str, int] = {}
        self._of = np.full(len(words), -1, np.int64)  # by token; -1: no such ending
        for token, word in enumerate(words):
            if len(word) >= length + 2 and word.isalpha() and word[1:].islower():
                self._of[token] = numbers.setdefault(word[-length:], len(numbers))
        self.names = list(numbers)
        counted = np.bincount(self._of[self._of >= 0], minlength=1)
        self.usual = float(counted.max()) / max(len(words), 1)

    def shared(
        self, tokens: NDArray[np.int64], words: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many of each feature's tokens [features, n] have its commonest ending, and its number.

        0 where they are spellings of fewer than ``WORDS`` words; ``words`` numbers each token's word.
        """
        endings, spelled = self._of[tokens], words[tokens]
        same = (endings[:, :, None] == endings[:, None, :]) & (endings >= 0)[:, None, :]  # [features, n, n]
        counts = same.sum(axis=2)
        place = counts.argmax(axis=1)
        rows = np.arange(len(tokens))
        chosen = np.where(same[rows, place], spelled, -1)
        chosen.sort(axis=1)
        different = (np.diff(chosen, axis=1, prepend=-1) != 0).sum(axis=1)
        return np.where(different >= WORDS, counts[rows, place], 0), endings[rows, place]


def _kinds(word: str) -> Iterator[str]:
    """The patterns that a token matches, by its text without the space around it."""
    if not word:
        yield "whitespace"
        return
    for name, test in _TESTS.items():
        if test(word):
            yield name
    if (alphabet := script(word)) not in (None, "Latin"):
        yield f"script:{alphabet}"


def script(text: str) -> str | None:
    """The script that all letters of a text are in (Latin, Cyrillic, Han, …); None for several, or no letters."""
    scripts = {_script(character) for character in text if character.isalpha()}
    return scripts.pop() if len(scripts) == 1 else None


@lru_cache(1 << 16)
def _script(letter: str) -> str:
    """A letter's script: the first word of its Unicode name."""
    name = unicodedata.name(letter, "unknown").partition(" ")[0]
    return "Han" if name == "CJK" else name.title()


@lru_cache(1 << 10)
def _enough(width: int, usual: float) -> int:
    """How many of ``width`` tokens have to match a pattern that a share ``usual`` of the vocabulary matches."""
    least = ceil(SHARE * width)
    tail = 0.0
    for count in range(width, 0, -1):
        tail += comb(width, count) * usual**count * (1 - usual) ** (width - count)
        if tail > CHANCE:
            return max(least, count + 1)
    return least
