"""The text of a Vindexfile → what it says.

One statement a line; a line may be empty, and a comment begins with a ``#`` that stands first or after a space.

    FROM source             a Hugging Face directory, GGUF file, hub id or vindex; first, and once
    RELATIONS name, …       wordings and facts: of relations that larqldb ships, or of TSV files
    PATCH file              edits that were saved
    INSERT (…)              as INSERT INTO EDGES (entity, relation, target) VALUES (…), with its clauses
    DELETE (…)              a fact; DELETE WHERE …: as DELETE FROM EDGES
    EXPOSE level            browse, inference or all (the default): how much the result holds; the last one counts
    STAGE name              what follows is built in this stage only, after what stands before the first stage

Names and paths stand in double quotes or, without spaces, commas and quotes, as they are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from larqldb import lql
from larqldb.errors import BadVindexfile, LQLSyntaxError
from larqldb.extract import LEVELS
from larqldb.lql import nodes
from larqldb.lql.tokens import Kind, quote_lql, tokenize

_VERB = re.compile(r"\s*(\w+)\s*")
_BARE = re.compile(r"[^\s,\"']+")
_STAGE = re.compile(r"[A-Za-z0-9_.\-]+")
_VALUES = "INSERT INTO EDGES (entity, relation, target) VALUES "
_EXAMPLES = {
    "FROM": 'FROM "SmolLM2-135M-Instruct"',
    "RELATIONS": "RELATIONS capital, currency",
    "PATCH": 'PATCH "myths.vlp"',
    "INSERT": 'INSERT ("Atlantis", "capital", "Poseidon")',
    "DELETE": 'DELETE ("France", "capital", "Paris")',
    "EXPOSE": "EXPOSE inference",
    "STAGE": "STAGE dev",
}


@dataclass(frozen=True)
class From:
    """What is built upon."""

    source: str

    def __str__(self) -> str:
        return f"FROM {quote_lql(self.source)}"


@dataclass(frozen=True)
class Relations:
    """Relations that larqldb ships, by name, and TSV files, by path."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"RELATIONS {', '.join(map(quote_lql, self.names))}"


@dataclass(frozen=True)
class Patch:
    """A patch file."""

    path: str

    def __str__(self) -> str:
        return f"PATCH {quote_lql(self.path)}"


@dataclass(frozen=True)
class Edit:
    """INSERT or DELETE on edges."""

    node: nodes.Insert | nodes.Delete

    @property
    def lql(self) -> str:
        """The statement as a connection runs it."""
        return lql.render(self.node)

    def __str__(self) -> str:
        text = self.lql
        return f"INSERT {text.removeprefix(_VALUES)}" if text.startswith(_VALUES) else text


@dataclass(frozen=True)
class Expose:
    """How much the result holds."""

    level: str

    def __str__(self) -> str:
        return f"EXPOSE {self.level}"


Statement = From | Relations | Patch | Edit | Expose


@dataclass(frozen=True)
class Step:
    """A statement and the line it stands on, which makes it no other statement."""

    statement: Statement
    line: int = field(compare=False)


@dataclass(frozen=True)
class Stage:
    """A name and what is built in it."""

    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Vindexfile:
    """What a Vindexfile says: ``steps`` (the first is FROM) in every stage, then those of ``stages``."""

    steps: tuple[Step, ...]
    stages: tuple[Stage, ...] = ()

    def __str__(self) -> str:
        lines = [str(step.statement) for step in self.steps]
        for stage in self.stages:
            lines += ["", f"STAGE {stage.name}", *(str(step.statement) for step in stage.steps)]
        return "\n".join(lines) + "\n"


def parse(text: str, path: object = "Vindexfile") -> Vindexfile:
    """What a text says. Raises BadVindexfile with the place of a mistake."""
    return _Reader(path).read(text)


class _Reader:
    """Reads one Vindexfile."""

    def __init__(self, path: object) -> None:
        self._path = path
        self._line, self._text = 1, ""

    def read(self, text: str) -> Vindexfile:
        common: list[Step] = []
        stages: dict[str, list[Step]] = {}
        steps = common
        for self._line, self._text in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
            self._text = self._text.rstrip("\r")
            body = _without_comment(self._text)
            if not body.strip():
                continue
            verb, at = self._verb(body)
            if verb == "STAGE":
                if not common:
                    self._fail("a Vindexfile begins with FROM", 0, _EXAMPLES["FROM"])
                steps = stages.setdefault(self._stage(body, at, stages), [])
                continue
            if (verb == "FROM") == bool(common):
                problem = "there is a FROM already" if common else "a Vindexfile begins with FROM"
                self._fail(problem, 0, None if common else _EXAMPLES["FROM"])
            steps.append(Step(self._statement(verb, body, at), self._line))
        if not common:
            self._fail("there is no FROM", len(self._text), _EXAMPLES["FROM"])
        return Vindexfile(tuple(common), tuple(Stage(name, tuple(several)) for name, several in stages.items()))

    def _verb(self, body: str) -> tuple[str, int]:
        match = _VERB.match(body)
        word = match.group(1).upper() if match else ""
        if match is None or word not in _EXAMPLES:
            near = difflib.get_close_matches(word, _EXAMPLES, 1)
            hint = f"Did you mean {near[0]}?" if near else f"A line begins with {', '.join(_EXAMPLES)} or #"
            start = len(body) - len(body.lstrip())
            shown = match.group(1) if match else body.split(maxsplit=1)[0]
            self._fail(f"{shown} begins no statement", start, hint)
        return word, match.end()

    def _statement(self, verb: str, body: str, at: int) -> Statement:
        match verb:
            case "FROM":
                return From(self._one(verb, body, at))
            case "PATCH":
                return Patch(self._one(verb, body, at))
            case "RELATIONS":
                return Relations(tuple(self._several(verb, body, at)))
            case "EXPOSE":
                return Expose(self._level(body, at))
            case "INSERT":
                return Edit(self._insert(body, at))
            case _:
                return Edit(self._delete(body, at))

    def _stage(self, body: str, at: int, known: dict[str, list[Step]]) -> str:
        name = self._one("STAGE", body, at)
        if not _STAGE.fullmatch(name):
            self._fail("a stage's name is made of letters, digits, _, - and .", at, _EXAMPLES["STAGE"])
        if name in known:
            self._fail(f"there is a stage {name} already", at)
        return name

    def _level(self, body: str, at: int) -> str:
        level = self._one("EXPOSE", body, at)
        if level.lower() not in LEVELS:
            near = difflib.get_close_matches(level.lower(), LEVELS, 1)
            hint = f"Did you mean {near[0]}?" if near else f"The levels are {', '.join(LEVELS)}"
            self._fail(f"{level} is no level", at, hint)
        return level.lower()

    def _one(self, verb: str, body: str, at: int) -> str:
        """A statement's only name or path."""
        value, end = self._value(verb, body, at)
        rest = body[end:].lstrip()
        if rest:
            hint = "A path with spaces stands in double quotes" if body[at] not in "\"'" else None
            self._fail(f"{verb} takes one name or path", len(body) - len(rest), hint)
        return value

    def _several(self, verb: str, body: str, at: int) -> Iterator[str]:
        """Names or paths with commas between."""
        while True:
            value, end = self._value(verb, body, at)
            yield value
            rest = body[end:].lstrip()
            if not rest:
                return
            if not rest.startswith(","):
                self._fail("a comma belongs between names", len(body) - len(rest))
            at = len(body) - len(rest[1:].lstrip())

    def _value(self, verb: str, body: str, at: int) -> tuple[str, int]:
        """A name or path, and where it ends."""
        if at >= len(body.rstrip()):
            self._fail(f"{verb} needs a name or path", len(body.rstrip()), f"For example: {_EXAMPLES[verb]}")
        if body[at] in "\"'":
            token = tokenize(body[at:], fragment=True)[0]
            if token.kind is Kind.BAD:
                self._fail(token.value, at + token.start)
            if not token.value.strip():
                self._fail("a name or path is empty", at)
            return token.value, at + len(token.text)
        bare = _BARE.match(body, at)
        if bare is None:
            self._fail("a name or path is missing here", at, f"For example: {_EXAMPLES[verb]}")
        return bare.group(), bare.end()

    def _insert(self, body: str, at: int) -> nodes.Insert:
        prefix = _VALUES if body.startswith("(", at) else "INSERT "
        node = self._lql(prefix, body, at)
        if not isinstance(node, nodes.Insert) or not isinstance(node.rows, tuple):
            self._fail("INSERT takes facts written out", at, _EXAMPLES["INSERT"])
        if node.mode == "knn":
            problem = "a row that is looked up has no place in a model's own weights, and a build makes those"
            self._fail(problem, at + body[at:].upper().rindex("KNN"), "Leave MODE KNN out")
        return node

    def _delete(self, body: str, at: int) -> nodes.Delete:
        if body.startswith("(", at):
            inserted = self._lql(_VALUES, body, at)
            if not isinstance(inserted, nodes.Insert) or inserted != nodes.Insert(inserted.rows):
                self._fail("DELETE takes a fact, or a condition after WHERE", at, _EXAMPLES["DELETE"])
            facts = inserted.rows
            if not isinstance(facts, tuple) or len(facts) != 1:
                self._fail("DELETE takes one fact", at, _EXAMPLES["DELETE"])
            named = zip(("entity", "relation", "target"), facts[0], strict=True)
            condition = " AND ".join(f"{column} = {quote_lql(str(value), chr(39))}" for column, value in named)
            node = lql.parse(f"DELETE FROM EDGES WHERE {condition}")
        else:
            whole = body[at:].upper().startswith("FROM")
            node = self._lql("DELETE " if whole else "DELETE FROM EDGES ", body, at)
        if not isinstance(node, nodes.Delete):
            self._fail("DELETE takes a fact, or a condition after WHERE", at, _EXAMPLES["DELETE"])
        return node

    def _lql(self, prefix: str, body: str, at: int) -> lql.Statement:
        """The rest of a line, read as LQL after a prefix; the places of mistakes are those in the line."""
        text = prefix + body[at:]
        tokens = tokenize(body[at:], fragment=True)
        unknown = next((token for token in tokens if token.kind is Kind.PARAMETER), None)
        if unknown is not None:
            self._fail("a Vindexfile has no parameters: write the value out", at + unknown.start)
        end = next((token for token in tokens if token.is_operator(";")), None)
        if end is not None:
            self._fail("one statement a line, and no semicolon", at + end.start)
        try:
            return lql.parse(text)
        except LQLSyntaxError as problem:
            self._fail(problem.problem, max(at, at + problem.column - 1 - len(prefix)), problem.hint)

    def _fail(self, problem: str, place: int, hint: str | None = None) -> NoReturn:
        """Refuse the line; ``place`` counts from 0."""
        raise BadVindexfile(
            problem, path=self._path, line=self._line, column=place + 1, text=self._text, hint=hint
        ) from None


def _without_comment(line: str) -> str:
    """A line up to its comment, if it has one; a # within quotes or a word is none."""
    quote, escaped, before = "", False, " "
    for place, character in enumerate(line):
        if quote:
            if escaped:
                escaped = False
            elif character == "\\" and quote != "`":
                escaped = True
            elif character == quote:
                quote = ""
        elif character in "\"'`":
            quote = character
        elif character == "#" and before.isspace():
            return line[:place]
        before = character
    return line
