"""Tokens → nodes, driven by the table in `larqldb.lql.grammar`.

One pass from left to right without going back, so the time is linear in the length of the text. Each kind of operand
has one method that reads it; everything else is in the table.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from larqldb.lql import nodes
from larqldb.lql.grammar import FORMS, Clause, Form, Kind, Operand
from larqldb.lql.operands import OperandReader
from larqldb.lql.pipes import QUERY_VERBS, entrance
from larqldb.lql.reader import did_you_mean, either, name_of
from larqldb.lql.sqlite_syntax import find_problem
from larqldb.lql.tokens import Kind as T
from larqldb.lql.tokens import Token, scan, syntax_error
from larqldb.lql.verbs import SQL_VERBS, speaks_lql

if TYPE_CHECKING:
    from collections.abc import Iterable

_CACHED_LENGTH = 4096  # longer statements are not worth remembering
_MAX_STAGES = 50  # nested WITH clauses SQLite's parser takes, with room to spare
_NEAREST = re.compile("nearest", re.IGNORECASE)
_NEAREST_TABLES = ("EDGES", "ENTITIES", "FEATURES")
_AFTER_EXPLAIN = frozenset({"QUERY", *SQL_VERBS} - {"EXPLAIN"})
_AFTER_BEGIN = frozenset({"CONCURRENT", "DEFERRED", "EXCLUSIVE", "IMMEDIATE", "TRANSACTION"})
# Words that may follow a table in FROM and so are no alias of it.
# fmt: off
_AFTER_TABLE = frozenset({
    "CROSS", "EXCEPT", "FULL", "GROUP", "HAVING", "INNER", "INTERSECT", "JOIN", "LEFT", "LIMIT", "NATURAL", "NEAREST",
    "ON", "ORDER", "RETURNING", "RIGHT", "SET", "UNION", "USING", "WHERE", "WINDOW",
})
# fmt: on


def parse(text: str) -> nodes.Statement:
    """The node of one statement: LQL's, or `nodes.Sql` with the text untouched.

    Raises LQLSyntaxError with line, column and what was expected, also for a SELECT that SQLite cannot read.
    """
    return _parse_remembered(text) if len(text) <= _CACHED_LENGTH else _parse(text)


def _parse(text: str) -> nodes.Statement:
    _check_characters(text)
    first = list(islice(scan(text), 3))
    if not first or first[0].is_operator(";"):
        return nodes.Sql(text)
    if _is_lql(first) or "|>" in text or _NEAREST.search(text):
        return _Parser(text).statement()
    return _sql(text, first)


_parse_remembered = lru_cache(1024)(_parse)


def _check_characters(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise syntax_error(text, error.start, "half of a surrogate pair is not text") from None


def _is_lql(tokens: Iterable[Token]) -> bool:
    """Whether a statement that begins with these tokens is LQL or a misspelt verb."""
    names = (T.WORD, T.QUOTED, T.NAME)
    return bool(speaks_lql([token.value.upper() if token.kind in names else "" for token in tokens]))


def _sql(text: str, first: list[Token]) -> nodes.Sql:
    verb, second = first[0], first[1] if len(first) > 1 else None
    nul = text.find("\0")
    if nul >= 0:
        raise syntax_error(text, nul, "SQL cannot hold a NUL", "give the string as a parameter, or use char(0)")
    if second is not None and second.kind in (T.WORD, T.STRING, T.QUOTED):
        if verb.is_word("EXPLAIN") and second.value not in _AFTER_EXPLAIN:
            hint = did_you_mean(second.value, ("WALK", "INFER", "QUERY PLAN", "SELECT"))
            raise syntax_error(text, second.start, "expected WALK, INFER, QUERY PLAN or SQL after EXPLAIN", hint)
        if verb.is_word("BEGIN") and second.value not in _AFTER_BEGIN:
            hint = did_you_mean(second.value, ("PATCH", *_AFTER_BEGIN))
            raise syntax_error(text, second.start, "expected PATCH, TRANSACTION or nothing after BEGIN", hint)
    if verb.is_word(*QUERY_VERBS):
        problem = find_problem(text)
        if problem is not None:
            raise syntax_error(text, problem.position, problem.message, problem.hint)
    return nodes.Sql(text)


class _Parser(OperandReader):
    # One statement

    def statement(self) -> nodes.Statement:
        """The whole text."""
        stages = [self.stage(first=True)]
        while self.token.is_operator("|>"):
            self.check_left(stages[-1])
            pipe = self.advance()
            if len(stages) == _MAX_STAGES:
                raise self.error(f"a pipe has at most {_MAX_STAGES} stages", pipe)
            stages.append(self.stage(first=False))
        last = self.token
        while self.token.is_operator(";"):
            self.advance()
        if self.token.kind is not T.END:
            hint = "executescript and the command line run scripts"
            raise self.error("one statement at a time" if last.is_operator(";") else self.unexpected(), hint=hint)
        return stages[0] if len(stages) == 1 else nodes.Pipe(tuple(stages))

    def stage(self, *, first: bool) -> nodes.Statement:
        start = self.token
        if start.kind is T.END or start.is_operator(";", "|>"):
            after = "" if first else " after |>"
            raise self.error(f"expected a statement{after}, found {name_of(start)}")
        if not _is_lql(self.tokens[self.index : self.index + 3]):
            return self.sql_stage(first=first)
        node = self.lql_statement()
        if not first and isinstance(node, nodes.Command):
            raise self.error("the right side of |> must be a query; this is a command", start)
        return node

    def check_left(self, node: nodes.Statement) -> None:
        if isinstance(node, nodes.Command):
            raise self.error("the left side of |> must be a query; this is a command")
        if isinstance(node, nodes.Sql) and not next(scan(node.text)).is_word(*QUERY_VERBS):
            raise self.error("the left side of |> must be a query: SELECT, VALUES or WITH")

    # SQL, alone with NEAREST TO or as a stage of a pipe

    def sql_stage(self, *, first: bool) -> nodes.Statement:
        begin = self.index
        end = begin
        while not (self.tokens[end].kind is T.END or self.tokens[end].is_operator("|>", ";")):
            end += 1
        alone = first and not self.tokens[end].is_operator("|>")
        near = any(self.tokens[i].is_word("NEAREST") and self.tokens[i + 1].is_word("TO") for i in range(begin, end))
        if alone and not near:
            self.index = len(self.tokens) - 1
            return _sql(self.text, self.tokens[:-1])
        if not first and entrance(self.tokens[begin:end]) is None:
            raise self.error("the right side of |> must be a statement that can read rows, such as SELECT or INSERT")
        parts: list[str | nodes.Nearest] = []
        pieces: list[str] = []
        position = self.token.start
        while self.index < end:
            token = self.token
            if token.kind is T.BAD or "\0" in token.text:
                raise self.error(token.value if token.kind is T.BAD else "SQL cannot hold a NUL", token)
            if token.kind is T.PARAMETER:
                pieces += (self.text[position : token.start], str(self.parameter()))
                position = token.end
            elif token.is_word("NEAREST") and self.peek().is_word("TO"):
                table = self.tokens[self.index - 1]
                named = table.kind in (T.WORD, T.QUOTED, T.NAME) and table.start >= position
                if not named or table.value.upper() not in _NEAREST_TABLES:
                    raise self.error("NEAREST TO must follow EDGES, FEATURES or ENTITIES in FROM", token)
                pieces.append(self.text[position : max(position, table.start)])
                parts += ("".join(pieces), self.nearest(table.value.lower()))
                pieces, position = [], self.tokens[self.index - 1].end
            else:
                self.advance()
        pieces.append(self.text[position : max(position, self.tokens[end - 1].end)])
        tail = "".join(pieces)
        self.check_sql(begin, end)
        if not parts:
            return nodes.Sql(tail)
        return nodes.Select((*parts, tail) if tail else tuple(parts))

    def check_sql(self, begin: int, end: int) -> None:
        """Have SQLite read the SQL, with NEAREST TO and the statement around it blanked out."""
        tokens = self.tokens[begin:end]
        if not tokens[0].is_word(*QUERY_VERBS):
            return
        characters = [" "] * tokens[0].start
        blank = 0  # tokens of NEAREST TO x AT LAYER n still to be blanked
        for token, after in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
            if token.is_word("NEAREST") and after.is_word("TO"):
                blank = 6
            characters += " " * (token.start - len(characters))
            characters += " " * len(token.text) if blank else token.text
            blank = max(0, blank - 1)
        problem = find_problem("".join(characters))
        if problem is not None:
            raise syntax_error(self.text, problem.position, problem.message, problem.hint)

    def nearest(self, table: str) -> nodes.Nearest:
        self.advance()
        self.advance()
        text = self.read_text(Operand("NEAREST TO", Kind.TEXT))
        self.expect("AT")
        self.expect("LAYER")
        layer = self.read_integer(Operand("LAYER", Kind.INTEGER))
        explicit = self.token.is_word("AS")
        if explicit:
            self.advance()
        token = self.token
        is_name = token.kind in (T.QUOTED, T.NAME) or (token.kind is T.WORD and token.value not in _AFTER_TABLE)
        if not is_name:
            if explicit:
                raise self.error(f"expected a name after AS, found {name_of(token)}")
            return nodes.Nearest(table, text, layer)
        self.advance()
        return nodes.Nearest(table, text, layer, token.text if token.kind is T.WORD else token.value)

    # LQL

    def lql_statement(self) -> nodes.Statement:
        form = self.choose()
        values: dict[str, Any] = {}
        for item in form.head:
            if isinstance(item, str):
                self.expect(item)
            else:
                values[item.field] = self.read(item, form)
        node = self.clauses(form, values)
        return node(**values)

    def choose(self) -> Form:
        """The form whose verb the statement begins with, the longest one."""
        begin = self.index
        words = [t.value.upper() if t.kind is not T.STRING else "" for t in self.tokens[begin : begin + 3]]
        known = 0  # words that some verb begins with
        best: Form | None = None
        for form in FORMS:
            common = 0
            while common < min(len(form.verb), len(words)) and form.verb[common] == words[common]:
                common += 1
            known = max(known, common)
            if common == len(form.verb) and (best is None or common > len(best.verb)):
                best = form
        if best is not None:
            self.index += len(best.verb)
            return best
        self.index += known
        expected = tuple(dict.fromkeys(f.verb[known] for f in FORMS if list(f.verb[:known]) == words[:known]))
        hint = self.misspelling((*expected, *(SQL_VERBS if not known else ())))
        if known:
            raise self.error(f"expected {either(expected)} after {' '.join(words[:known])}, {self.found()}", hint=hint)
        if self.token.kind is not T.WORD:
            raise self.error(f"a statement begins with a verb, such as DESCRIBE or SELECT, {self.found()}")
        raise self.error(f"no statement begins with {name_of(self.token)}", hint=hint or "see: larqldb help")

    def clauses(self, form: Form, values: dict[str, Any]) -> type[nodes.Statement]:
        node = form.node
        given: dict[str, Clause] = {}  # by field
        while (clause := self.match_clause(form)) is not None:
            start = self.token
            if clause.field in given:
                self.fail_twice(given[clause.field], clause)
            self.index += len(clause.words)
            if clause.equals and not self.token.is_operator("="):
                raise self.error(f"expected = after {clause.name}, {self.found()}")
            if clause.equals is not False and self.token.is_operator("="):
                self.advance()
            value = clause.value if clause.kind is None else self.read(clause, form)
            if clause.only is not None and values[clause.only[0]] != clause.only[1]:
                raise self.error(f"{clause.name} is for {form.verb[0]} … INTO {clause.only[1].upper()} only", start)
            given[clause.field] = clause
            values[clause.field] = value
            node = clause.becomes or node
            for one in given.values():
                for other in one.excludes:
                    if other in given:
                        raise self.error(f"{one.name} and {given[other].name} contradict each other", start)
        if not (self.token.kind is T.END or self.token.is_operator(";", "|>")):
            self.fail_clause(form, given)
        return node

    def match_clause(self, form: Form) -> Clause | None:
        """The clause that begins here, the one with most words; an error where one begins and does not go on."""
        best: Clause | None = None
        part: Clause | None = None
        for clause in form.clauses:
            words = clause.words
            if not words:
                kinds = (T.STRING, T.QUOTED, T.PARAMETER) if clause.kind is Kind.TEXT else (T.NUMBER, T.PARAMETER)
                if self.token.kind in kinds:
                    best = clause
            elif self.token.is_word(words[0]):
                if all(self.peek(i).is_word(word) for i, word in enumerate(words)):
                    best = clause if best is None or len(words) > len(best.words) else best
                else:
                    part = clause
        if best is None and part is not None:
            first = part.words[0]
            expected = tuple(c.words[1] for c in form.clauses if c.words[:1] == (first,) and len(c.words) > 1)
            self.advance()
            hint = self.misspelling(expected)
            raise self.error(f"expected {either(expected)} after {first}, {self.found()}", hint=hint)
        return best

    def fail_twice(self, before: Clause, clause: Clause) -> NoReturn:
        if before.words == clause.words or not clause.words:
            raise self.error(f"{before.name} is given twice")
        raise self.error(f"{before.name} and {clause.name} exclude each other")

    def fail_clause(self, form: Form, given: dict[str, Clause]) -> NoReturn:
        left = [clause for clause in form.clauses if clause.field not in given]
        if self.token.is_operator("|"):
            raise self.error("unexpected |", hint="a pipe is written |>")
        expected = ", ".join(clause.syntax for clause in left)
        problem = f"{self.unexpected()} after {form.name} …; expected {expected or '|>'} or the end of the statement"
        names = [clause.words[0] for clause in left if clause.words]
        raise self.error(problem, hint=self.misspelling(names))
