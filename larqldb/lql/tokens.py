r"""Text → tokens, for LQL and for the SQL around it.

A tokenizer of our own rather than sqlglot's. Measured with sqlglot 30.30: an unterminated string is an error without a
place, a NUL becomes part of a name, ``?1`` and ``?`` cannot be told apart from other uses of ``?``, tokens cost 4 µs
each in Python, importing it costs 0.1 s even where only SQL is run, and one pass knows one set of escapes, while a
statement here may change its language in the middle: ``SELECT 'C:\' |> DESCRIBE "a\"b"``. What is below is one regular
expression for each language, with possessive repeats, so the time is linear in the length of the text whatever it is.

In LQL a backslash escapes inside strings; in SQL it does not. A statement speaks LQL or SQL by its first words
(`larqldb.lql.verbs`), decided anew after ``;`` and ``|>``; the string after ``NEAREST TO`` is LQL's even inside SQL.
Whitespace, names and numbers follow SQLite's own tokenizer (https://www.sqlite.org/src/file/src/tokenize.c).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from larqldb.errors import LQLSyntaxError
from larqldb.lql.verbs import speaks_lql

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kind(StrEnum):
    """What a token is."""

    WORD = "word"  # a keyword or a bare name
    NUMBER = "number"
    STRING = "string"  # '…'
    QUOTED = "quoted"  # "…": a string or a name
    NAME = "name"  # `…` or […]: always a name
    BLOB = "blob"  # x'…'
    PARAMETER = "parameter"
    OPERATOR = "operator"
    BAD = "bad"  # nothing the language knows; value says what is wrong
    END = "end"


class Token(NamedTuple):
    """One token of a statement."""

    kind: Kind
    text: str  # as written
    start: int  # in characters, from 0
    value: str  # a word in upper case, the contents of a string or quoted name, else the text

    @property
    def end(self) -> int:
        """The position after the token's last character."""
        return self.start + len(self.text)

    def is_word(self, *words: str) -> bool:
        """Whether the token is one of these (upper-case) words."""
        return self.kind is Kind.WORD and self.value in words

    def is_operator(self, *operators: str) -> bool:
        """Whether the token is one of these operators."""
        return self.kind is Kind.OPERATOR and self.text in operators


_DIGITS = r"[0-9]+(?:_[0-9]+)*"
_NUMBER = rf"0[xX][0-9A-Fa-f]+|(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?"
_LETTER = r"A-Za-z_\x80-\U0010FFFF"  # SQLite: every character beyond ASCII may stand in a name
_WORD = rf"[{_LETTER}][{_LETTER}0-9$]*+"
_SPACE = r"(?:[ \t\n\f\r]++|--[^\n]*+|/\*.*?(?:\*/|\Z))++"
_OPERATOR = r"\|>|\|\||->>|->|<<|>>|<=|>=|<>|!=|==|[(),;.+\-*/%&|<>=~]"


def _language(string: str, quoted: str, parameter: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?P<space>{_SPACE})|(?P<blob>[xX]'[^']*+')|(?P<word>{_WORD})|(?P<number>{_NUMBER})|(?P<string>{string})"
        rf"|(?P<quoted>{quoted})|(?P<name>`(?:[^`]++|``)*+`|\[[^\]]*+\])|(?P<parameter>{parameter})"
        rf"|(?P<operator>{_OPERATOR})|(?P<open>['\"`\[].*)|(?P<other>.)",
        re.DOTALL,
    )


_SQL = _language(r"'(?:[^']++|'')*+'", r'"(?:[^"]++|"")*+"', rf"\?[0-9]*+|[:@#$][{_LETTER}0-9$]++")
_LQL = _language(r"'(?:[^'\\]++|\\.|'')*+'", r'"(?:[^"\\]++|\\.|"")*+"', rf"\?[0-9]*+|:[{_LETTER}0-9$]++")

_ESCAPE = re.compile(r"\\(.)|''|\"\"", re.DOTALL)
_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t", "r": "\r", "0": "\0"}
_UNESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"})
_CONTINUES = re.compile(rf"[{_LETTER}0-9$]++")


def scan(text: str, *, fragment: bool = False) -> Iterator[Token]:
    """The tokens of a text, lazily, without an END; never raises.

    ``fragment`` is for a piece of an LQL statement: LQL's strings from beginning to end.
    """
    position, head, nearest = 0, list[str](), 0
    lql = True if fragment else None
    while position < len(text):
        match = (_LQL if lql or nearest == 2 else _SQL).match(text, position)
        assert match is not None  # the last alternative takes any character
        token = _token(match, escapes=lql is True or nearest == 2)
        position = match.end()
        if token is None:
            continue
        if token.kind is Kind.NUMBER and (tail := _CONTINUES.match(text, position)):
            position = tail.end()
            token = Token(Kind.BAD, token.text + tail[0], token.start, "a number runs into a name")
        if not fragment and token.kind is Kind.OPERATOR and token.text in (";", "|>"):
            lql, nearest = None, 0
            head.clear()
        elif lql is None:
            head.append(token.value.upper() if token.kind in (Kind.WORD, Kind.QUOTED, Kind.NAME) else "")
            lql = speaks_lql(head)
        nearest = 1 if token.is_word("NEAREST") else 2 if nearest == 1 and token.is_word("TO") else 0
        yield token


def tokenize(text: str, *, fragment: bool = False) -> list[Token]:
    """All tokens of a text, with an END; never raises."""
    tokens = list(scan(text, fragment=fragment))
    tokens.append(Token(Kind.END, "", len(text.rstrip()) if tokens else len(text), ""))
    return tokens


def _token(match: re.Match[str], *, escapes: bool) -> Token | None:
    kind, text, start = match.lastgroup or "", match[0], match.start()
    if kind == "space":
        return None
    if kind == "word":
        return Token(Kind.WORD, text, start, text.upper())
    if kind in ("string", "quoted"):
        body, quote = text[1:-1], text[0]
        if not escapes:
            return Token(Kind(kind), text, start, body.replace(quote * 2, quote))
        for escape in _ESCAPE.finditer(body):
            if escape[1] and escape[1] not in _ESCAPES:
                problem = f"unknown escape {escape[0]} in a string; write \\\\ for a backslash"
                return Token(Kind.BAD, text, start + 1 + escape.start(), problem)
        return Token(Kind(kind), text, start, _unescape(body, quote))
    if kind == "name":
        return Token(Kind.NAME, text, start, text[1:-1].replace("``", "`") if text[0] == "`" else text[1:-1])
    if kind == "open":
        return Token(Kind.BAD, text, start, f"this {text[0]} is never closed")
    if kind == "other":
        return Token(Kind.BAD, text, start, f"unexpected character {text!a}" if text < " " else f"unexpected {text}")
    return Token(Kind(kind), text, start, text)


def _unescape(body: str, quote: str) -> str:
    def replace(match: re.Match[str]) -> str:
        if match[1]:
            return _ESCAPES[match[1]]
        return quote if match[0][0] == quote else match[0]

    return _ESCAPE.sub(replace, body) if "\\" in body or quote in body else body


def quote_lql(value: str, quote: str = '"') -> str:
    """A value as an LQL string between the given quotes."""
    return quote + value.translate(_UNESCAPES) + quote


def syntax_error(text: str, position: int, problem: str, hint: str | None = None) -> LQLSyntaxError:
    """The error for a problem at a position (in characters, from 0) of a statement."""
    first = text.rfind("\n", 0, position) + 1
    last = text.find("\n", position)
    line = text[first : len(text) if last < 0 else last].rstrip("\r")
    number, column = text.count("\n", 0, position) + 1, position - first + 1
    return LQLSyntaxError(problem, line=number, column=column, text=line, hint=hint)
