"""Reading operands: one method for each kind the grammar's table has."""

from __future__ import annotations

from typing import Any

from larqldb.lql import nodes
from larqldb.lql.fragments import EDGE_COLUMNS, FEATURE_COLUMNS, check_condition, check_query, make_fragment
from larqldb.lql.grammar import Clause, Form, Kind, Operand
from larqldb.lql.reader import TokenReader, either, name_of
from larqldb.lql.sqlite_syntax import BEFORE_EXPRESSION
from larqldb.lql.tokens import Kind as T
from larqldb.lql.tokens import Token

_MAX_INTEGER = 2**63 - 1  # SQLite's
_MAX_REAL = 1.7976931348623157e308
_BEFORE_COLUMN = ("ALL", "DISTINCT", "LIMIT", "OFFSET", "SELECT")
_EDGE_KEYS = ("entity", "relation", "target")


class OperandReader(TokenReader):
    """Reads operands, from where the reader is."""

    def read(self, part: Operand | Clause, form: Form) -> Any:
        """The value of an operand, by its kind."""
        assert part.kind is not None
        match part.kind:
            case Kind.TEXT:
                return self.read_text(part)
            case Kind.SOURCE:
                if self.token.is_word("CURRENT"):
                    self.advance()
                    return None
                return self.read_text(part)
            case Kind.INTEGER:
                return self.read_integer(part)
            case Kind.COUNT:
                return self.read_integer(part, least=1)
            case Kind.NUMBER:
                return self.read_number(part)
            case Kind.LAYERS:
                return self.read_layers(part)
            case Kind.CHOICE:
                return self.read_choice(part)
            case Kind.CHOICES:
                return self.read_choices(part)
            case Kind.CONDITION:
                return self.read_condition(form)
            case Kind.ASSIGNMENTS:
                return self.read_assignments()
            case Kind.ROWS:
                return self.read_rows(form)

    def read_text(self, part: Operand | Clause) -> nodes.Text:
        """A string or a parameter."""
        token = self.token
        if token.kind is T.PARAMETER:
            return self.parameter()
        if token.kind in (T.STRING, T.QUOTED):
            self.advance()
            return token.value
        hint = None
        if token.kind is T.WORD and token.value[0] in "“”„‘’«":
            hint = 'use straight quotes: "…"'
        elif token.kind is T.WORD:
            hint = 'strings stand in quotes: "…"'
        elif token.text[:1] in "@$#":
            hint = "parameters are ? or :name"
        or_current = "CURRENT or " if part.kind is Kind.SOURCE else ""
        raise self.error(f"expected {or_current}a string as {_label(part)}, {self.found()}", hint=hint)

    def read_integer(self, part: Operand | Clause, least: int = 0) -> nodes.Integer:
        """A whole number from ``least`` up, or a parameter."""
        start = self.token
        if start.kind is T.PARAMETER:
            return self.parameter()
        what = f"{_label(part)} takes a whole number from {least} up"
        number = self.number()
        if number is None:
            raise self.error(f"{what}, not {name_of(start)}", start)
        if not isinstance(number, int) or number < least:
            raise self.error(f"{what}, not {self.text[start.start : self.tokens[self.index - 1].end][:40]}", start)
        return number

    def read_number(self, part: Operand | Clause) -> nodes.Number:
        """A number with an optional sign, or a parameter."""
        start = self.token
        if start.kind is T.PARAMETER:
            return self.parameter()
        number = self.number()
        if number is None:
            raise self.error(f"{_label(part)} takes a number, not {name_of(start)}", start)
        return number

    def number(self) -> int | float | None:
        """A number with an optional sign, or None where there is none."""
        start, sign = self.token, 1
        if start.is_operator("-", "+") and self.peek().kind is T.NUMBER:
            sign = -1 if start.text == "-" else 1
            self.advance()
        if self.token.kind is not T.NUMBER:
            return None
        text = self.advance().text.replace("_", "")
        number: int | float
        if text[:2] in ("0x", "0X"):
            number = int(text, 16)
        elif text.isdecimal():
            digits = text.lstrip("0") or "0"
            number = int(digits) if len(digits) < 20 else _MAX_INTEGER + 1
        else:
            number = float(text)
        if number > (_MAX_REAL if isinstance(number, float) else _MAX_INTEGER):
            raise self.error("this number is out of range", start)
        return sign * number

    def read_layers(self, part: Operand | Clause) -> nodes.Layers:
        """A range ``a-b`` that goes up."""
        start = self.token
        first = self.read_integer(part)
        if not self.token.is_operator("-"):
            hint = f"one layer is written {first}-{first}"
            raise self.error(f"{part.field} take a range such as 0-5, {self.found()}", hint=hint)
        self.advance()
        last = self.read_integer(part)
        if isinstance(first, int) and isinstance(last, int) and first > last:
            raise self.error(f"a range goes up: {last}-{first}, not {first}-{last}", start)
        return nodes.Layers(first, last)

    def read_choice(self, part: Operand | Clause) -> str:
        """One of the options, in lower case."""
        token = self.token
        if token.kind is T.WORD and token.value in part.options:
            self.advance()
            return token.value.lower()
        label = part.name if isinstance(part, Clause) else "INTO"
        hint = self.misspelling(part.options)
        raise self.error(f"{label} takes {either(part.options)}, {self.found('not')}", hint=hint)

    def read_choices(self, part: Operand | Clause) -> tuple[str, ...]:
        """Some of the options, each at most once."""
        choices: list[str] = []
        while True:
            start = self.token
            choice = self.read_choice(part)
            if choice in choices:
                raise self.error(f"{choice.upper()} is given twice", start)
            choices.append(choice)
            if not self.token.is_operator(","):
                return tuple(choices)
            self.advance()

    def read_condition(self, form: Form) -> nodes.Fragment:
        """An SQL expression over the columns of edges or features."""
        stops = tuple(clause.words[0] for clause in form.clauses if clause.kind is not Kind.CONDITION)
        tokens = self.expression(stops)
        if not tokens:
            raise self.error(f"expected a condition after WHERE, {self.found()}")
        columns = FEATURE_COLUMNS if form.node is nodes.ShowFeatures else EDGE_COLUMNS
        check_condition(self.text, tokens, columns, "a condition")
        return make_fragment(tokens)

    def read_assignments(self) -> tuple[tuple[str, Any], ...]:
        """``column = value {, column = value}``, each column at most once."""
        assignments: dict[str, Any] = {}
        while True:
            column = self.read_column()
            if column in assignments:
                raise self.error(f"{column} is set twice", self.tokens[self.index - 1])
            if not self.token.is_operator("="):
                raise self.error(f"expected = after {column}, {self.found()}")
            self.advance()
            assignments[column] = self.read_value(column)
            if not self.token.is_operator(","):
                return tuple(assignments.items())
            self.advance()

    def read_column(self, columns: tuple[str, ...] = EDGE_COLUMNS) -> str:
        """The name of a column, in lower case."""
        token = self.token
        if token.kind not in (T.WORD, T.QUOTED, T.NAME) or token.value.lower() not in columns:
            hint = self.misspelling([column.upper() for column in columns])
            raise self.error(f"expected a column of edges ({', '.join(columns)}), {self.found()}", hint=hint)
        self.advance()
        return token.value.lower()

    def read_value(self, column: str) -> nodes.Text | nodes.Number | nodes.Fragment:
        """What follows ``column =``: a literal, a parameter or an SQL expression."""
        start = self.index
        tokens = self.expression(("WHERE",), ",")
        if not tokens:
            raise self.error(f"expected a value for {column}, {self.found()}")
        first = tokens[0]
        end, self.index = self.index, start
        if len(tokens) == 1 and isinstance(parameter := self.as_parameter(first), nodes.Parameter):
            value: nodes.Text | nodes.Number | nodes.Fragment = parameter
        elif len(tokens) == 1 and (
            first.kind is T.STRING or (first.kind is T.QUOTED and first.value.lower() not in EDGE_COLUMNS)
        ):
            value = first.value
        elif len(tokens) <= 2 and (number := self.number()) is not None and self.index == end:
            value = number
        else:
            check_condition(self.text, tokens, EDGE_COLUMNS, "a value")
            value = make_fragment(tokens)
        self.index = end
        return value

    def as_parameter(self, token: Token) -> nodes.Parameter | None:
        """The parameter that a token, numbered by `expression`, stands for."""
        if token.kind is not T.PARAMETER:
            return None
        return nodes.Parameter(int(token.text[1:]) if token.text[0] == "?" else token.text[1:])

    def read_rows(self, form: Form) -> tuple[tuple[nodes.Text, nodes.Text, nodes.Text], ...] | nodes.Fragment:
        """The columns of an INSERT and its rows or its SELECT."""
        columns = self.read_key_columns()
        if self.token.is_word("SELECT", "WITH"):
            return self.read_insert_query(form, columns)
        self.expect("VALUES")
        rows: list[tuple[nodes.Text, nodes.Text, nodes.Text]] = []
        while True:
            row: dict[str, nodes.Text] = {}
            self.expect("(")
            for index, column in enumerate(columns):
                if index:
                    self.expect(",")
                row[column] = self.read_text(Operand(column, Kind.TEXT))
            self.expect(")")
            rows.append((row["entity"], row["relation"], row["target"]))
            if not self.token.is_operator(","):
                return tuple(rows)
            self.advance()

    def read_key_columns(self) -> list[str]:
        """``(entity, relation, target)``, in any order."""
        columns: list[str] = []
        hint = "INSERT INTO EDGES (entity, relation, target) VALUES (…)"
        if not self.token.is_operator("("):
            raise self.error(f"expected (entity, relation, target), {self.found()}", hint=hint)
        self.advance()
        while True:
            column = self.read_column(_EDGE_KEYS)
            if column in columns:
                raise self.error(f"{column} is given twice", self.tokens[self.index - 1])
            columns.append(column)
            if len(columns) == len(_EDGE_KEYS):
                self.expect(")")
                return columns
            self.expect(",")

    def read_insert_query(self, form: Form, columns: list[str]) -> nodes.Fragment:
        """INSERT … SELECT: the query ends where only clauses follow, which no SELECT can end with."""
        starts = tuple(clause.words[0] for clause in form.clauses)
        tokens = self.expression((), is_end=lambda: self.token.is_word(*starts) and self.only_clauses_follow(form))
        check_query(self.text, tokens)
        query = make_fragment(tokens)
        if tuple(columns) == _EDGE_KEYS:
            return query
        return nodes.Fragment(
            f"WITH _row({', '.join(columns)}) AS ({query.text}) SELECT entity, relation, target FROM _row"
        )

    def only_clauses_follow(self, form: Form) -> bool:
        """Whether a clause begins here: its words and then a value, which SQL has nowhere."""
        clause = next(c for c in form.clauses if c.words[0] == self.token.value)
        if not all(self.peek(i).is_word(word) for i, word in enumerate(clause.words)):
            return False
        after = self.peek(len(clause.words))
        if after.is_operator("-", "+"):  # SELECT alpha -1 FROM t, or FROM t ALPHA -1
            signed = self.peek(len(clause.words) + 1).kind is T.NUMBER
            return signed and self.tokens[self.index - 1].value not in (*BEFORE_EXPRESSION, *_BEFORE_COLUMN)
        return after.kind in (T.NUMBER, T.PARAMETER) or after.is_word(*clause.options)


def _label(part: Operand | Clause) -> str:
    return part.name if isinstance(part, Clause) and part.words else part.field
