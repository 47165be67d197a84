"""Relation packs: facts to ask a model about, with the wordings to ask them in.

A pack is one TSV file, UTF-8, for one relation:

    # relation: capital
    # description: the capital city of a country
    # source: where the facts are from
    # licence: on what terms
    # wording: The capital of {entity} is
    # example: Portugal<TAB>Lisbon
    entity<TAB>target<TAB>aliases
    France<TAB>Paris
    Ukraine<TAB>Kyiv<TAB>Kiev|Kyjiw

Lines that start with ``#`` are headers when they begin with one of these names, and comments otherwise. The row of
column names may be left out, and so may the aliases: other spellings of the target, apart by ``|``. Several rows of
one entity are several right targets. An example is a fact that a prompt may show before the question, in the same
wording; it is no use in a question about its own entity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NoReturn

from larqldb.errors import BadFacts

SLOT = "{entity}"
COLUMNS = ("entity", "target", "aliases")
SINGLE_HEADERS = ("relation", "description", "source", "licence")
REPEATED_HEADERS = ("wording", "example")


@dataclass(frozen=True)
class Fact:
    """One right answer: ``aliases`` are other spellings of ``target``."""

    entity: str
    target: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pack:
    """A relation: its wordings, each holding ``{entity}``, worked examples (entity, target), and facts."""

    relation: str
    description: str
    source: str
    wordings: tuple[str, ...]
    examples: tuple[tuple[str, str], ...]
    facts: tuple[Fact, ...]
    licence: str = ""


@cache
def builtin() -> tuple[Pack, ...]:
    """Return the packs larqldb ships, sorted by relation."""
    folder = files("larqldb") / "data"
    read_all = [
        _parse(entry.read_bytes(), entry.name, None, None) for entry in folder.iterdir() if entry.name.endswith(".tsv")
    ]
    return tuple(sorted(read_all, key=lambda pack: pack.relation))


def read(path: str | Path, *, relation: str | None = None, wordings: Sequence[str] | None = None) -> Pack:
    """Return the pack in a TSV file; ``relation`` and ``wordings``, where given, stand in for the file's own.

    A plain table of entities and targets needs ``relation``. A pack may come without wordings: a vindex may know some
    for its relation already. A row given twice counts once. Windows line ends and a byte order mark are accepted.

    Raises BadFacts when the file cannot be read, or a line of it (named by number) is not as this module says.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        problem = error.strerror or "cannot be read"
        raise BadFacts(place=str(path), path=str(path), line=None, problem=problem, remedy="Check the path") from error
    return _parse(content, str(path), relation, wordings)


def _parse(content: bytes, path: str, relation: str | None, wordings: Sequence[str] | None) -> Pack:
    draft = _Draft(path)
    for number, line in draft.lines(content):
        if line.startswith("#"):
            draft.add_header(number, line[1:])
        elif line.strip():
            draft.add_fact(number, line)
    name = relation or draft.single.get("relation", "")
    if not name:
        draft.fail(None, "it does not say which relation its facts are of", "Name one, or add a line: # relation: NAME")
    if not draft.facts:
        draft.fail(None, "there are no facts in it", "Write one a line: entity, tab, target")
    for wording in wordings or ():
        draft.check_wording(None, wording)
    return Pack(
        relation=name,
        description=draft.single.get("description", ""),
        source=draft.single.get("source", path),
        wordings=tuple(dict.fromkeys(wordings if wordings is not None else draft.wordings)),
        examples=tuple(draft.examples),
        facts=tuple(Fact(entity, target, tuple(aliases)) for (entity, target), aliases in draft.facts.items()),
        licence=draft.single.get("licence", ""),
    )


@dataclass
class _Draft:
    """What the lines read so far amount to."""

    path: str
    single: dict[str, str] = field(default_factory=dict)
    wordings: dict[str, None] = field(default_factory=dict)
    examples: dict[tuple[str, str], None] = field(default_factory=dict)
    facts: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)

    def fail(self, line: int | None, problem: str, remedy: str) -> NoReturn:
        place = self.path if line is None else f"{self.path}, line {line}"
        raise BadFacts(place=place, path=self.path, line=line, problem=problem, remedy=remedy)

    def lines(self, content: bytes) -> Iterator[tuple[int, str]]:
        """Yield the lines with their numbers, from 1; ends at LF, CRLF or CR only, as text editors count them."""
        content = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        for number, line in enumerate(content.split(b"\n"), 1):
            try:
                text = line.decode()
            except UnicodeDecodeError:
                self.fail(number, "it is not UTF-8 text", "Save the file as UTF-8")
            if "\0" in text:
                self.fail(number, "it holds a zero byte, which no text does", "Save the file as UTF-8 text")
            yield number, text

    def add_header(self, number: int, comment: str) -> None:
        name, colon, value = comment.partition(":")
        name, value = name.strip().lower(), value.strip()
        if not colon or name not in SINGLE_HEADERS + REPEATED_HEADERS:
            return  # a comment
        if not value:
            self.fail(number, f"the header {name!r} is empty", "Fill it in or take the line out")
        if name == "wording":
            self.check_wording(number, value)
            self.wordings[value] = None
        elif name == "example":
            entity, target, _ = self._cells(number, value)
            self.examples[entity, target] = None
        elif name in self.single:
            self.fail(number, f"a second header {name!r}", "A file holds one relation: keep one such line")
        else:
            self.single[name] = value

    def check_wording(self, number: int | None, wording: str) -> None:
        if SLOT not in wording:
            remedy = f"Write {SLOT} where the entity's name goes"
            self.fail(number, f"the wording {wording!r} does not hold {SLOT}", remedy)

    def add_fact(self, number: int, line: str) -> None:
        if not self.facts and tuple(cell.strip().lower() for cell in line.split("\t")) in (COLUMNS[:2], COLUMNS):
            return  # the row of column names
        entity, target, aliases = self._cells(number, line)
        known = self.facts.setdefault((entity, target), {})
        known.update(dict.fromkeys(alias for alias in aliases if alias != target))

    def _cells(self, number: int, line: str) -> tuple[str, str, list[str]]:
        cells = [cell.strip() for cell in line.split("\t")]
        if not 2 <= len(cells) <= len(COLUMNS):
            cut = f"{len(cells)} cell{'s' * (len(cells) != 1)}"
            self.fail(number, f"{cut} where 2 or 3 belong", "Write entity, target and perhaps aliases, tabs between")
        for name, cell in zip(COLUMNS[:2], cells, strict=False):
            if not cell:
                self.fail(number, f"the {name} is empty", "Fill it in or take the line out")
        aliases = [alias.strip() for alias in "".join(cells[2:]).split("|")]
        return cells[0], cells[1], [alias for alias in aliases if alias]
