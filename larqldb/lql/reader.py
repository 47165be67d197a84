"""Walking over the tokens of a statement: looking, advancing, numbering parameters, reporting errors."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from larqldb.lql import nodes
from larqldb.lql.tokens import Kind as T
from larqldb.lql.tokens import Token, quote_lql, syntax_error, tokenize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from larqldb.errors import LQLSyntaxError

_MAX_PARAMETER = 32766  # SQLite's SQLITE_LIMIT_VARIABLE_NUMBER


class TokenReader:
    """A text's tokens with a place in them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.index = 0
        self.highest = 0  # the largest number a positional parameter has
        self.styles: set[type] = set()  # of parameter keys

    # Tokens

    @property
    def token(self) -> Token:
        """The token here."""
        return self.tokens[self.index]

    def peek(self, ahead: int = 1) -> Token:
        """The token so many places ahead, or the END."""
        return self.tokens[min(self.index + ahead, len(self.tokens) - 1)]

    def advance(self) -> Token:
        """The token here; the reader goes on to the next."""
        token = self.token
        self.index = min(self.index + 1, len(self.tokens) - 1)
        return token

    def expect(self, text: str) -> None:
        """Go past a keyword or operator, or raise."""
        if not (self.token.is_word(text) or self.token.is_operator(text)):
            before = name_of(self.tokens[self.index - 1])
            raise self.error(f"expected {text} after {before}, {self.found()}", hint=self.misspelling((text,)))
        self.advance()

    # Errors

    def error(self, problem: str, token: Token | None = None, hint: str | None = None) -> LQLSyntaxError:
        """A syntax error at a token, else here."""
        token = token or self.token
        if token.kind is T.BAD and token.value not in problem:
            problem = f"{problem}: {token.value}"
        return syntax_error(self.text, token.start, problem, hint)

    def found(self, word: str = "found") -> str:
        """What stands here, for a message."""
        return f"{word} {name_of(self.token)}"

    def unexpected(self) -> str:
        """What stands here, as a problem."""
        return f"unexpected {name_of(self.token)}"

    def misspelling(self, words: Iterable[str]) -> str | None:
        """A hint where the word here is nearly one of these."""
        return did_you_mean(self.token.value, words) if self.token.kind is T.WORD else None

    # Parameters and expressions

    def parameter(self) -> nodes.Parameter:
        """The parameter here, numbered as SQLite would."""
        token = self.token
        key: int | str
        if token.text[0] == "?":
            digits = token.text[1:].lstrip("0") if len(token.text) > 1 else str(self.highest + 1)
            if not digits or len(digits) > 5 or int(digits) > _MAX_PARAMETER:
                raise self.error(f"parameters are numbered from ?1 to ?{_MAX_PARAMETER}")
            key = int(digits)
            self.highest = max(self.highest, key)
        else:
            key = token.text[1:]
        self.styles.add(type(key))
        if len(self.styles) > 1:
            raise self.error("a statement's parameters are all ? or all :name")
        self.advance()
        return nodes.Parameter(key)

    def expression(
        self, stops: tuple[str, ...], operator: str = "", is_end: Callable[[], bool] | None = None
    ) -> list[Token]:
        """The tokens up to a word of ``stops`` or the operator outside parentheses, parameters numbered."""
        tokens: list[Token] = []
        depth = 0
        while not (self.token.kind is T.END or self.token.is_operator(";", "|>")):
            token = self.token
            if depth == 0 and (token.is_word(*stops) or (operator and token.is_operator(operator))):
                break
            if depth == 0 and is_end is not None and is_end():
                break
            if token.kind is T.BAD:
                raise self.error(token.value)
            depth += token.is_operator("(") - token.is_operator(")")
            if depth < 0:
                raise self.error("this ) closes nothing")
            if token.kind is T.PARAMETER:
                token = token._replace(text=str(self.parameter()))
                self.index -= 1
            tokens.append(token)
            self.advance()
        if depth:
            raise self.error(f"expected ) before the end, {self.found()}")
        return tokens


def did_you_mean(word: str, words: Iterable[str]) -> str | None:
    """A hint where a word is nearly one of these."""
    if len(word) > 40:  # comparing takes time quadratic in the length
        return None
    close = difflib.get_close_matches(word.upper(), list(words), 1, 0.65)
    return f"did you mean {close[0]}?" if close else None


def name_of(token: Token) -> str:
    """A token as messages write it."""
    if token.kind is T.END:
        return "the end of the statement"
    text = token.text if len(token.text) <= 40 else f"{token.text[:39]}…"
    return quote_lql(token.value[:40]) if token.kind in (T.STRING, T.QUOTED) else text


def either(words: tuple[str, ...]) -> str:
    """A, B or C."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
