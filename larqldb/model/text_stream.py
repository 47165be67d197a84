"""Tokens to text while they come: whole characters only, and nothing of a stop string."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from larqldb.model.tokenizer import Tokenizer

UNFINISHED = "\ufffd"  # what decoding gives for bytes that are not yet a character
LONGEST = 4  # bytes of a character in UTF-8, so tokens that may have to wait for the next one
CONTEXT = 8  # tokens decoded again with the new ones: some decoders treat the first one of a text differently


class TextStream:
    """The text that tokens add after ``before``, piece by piece.

    A piece never ends within a character; bytes that are no UTF-8 become U+FFFD once that is certain.
    """

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._ids = list(before[-CONTEXT:])
        self._shown = len(self._ids)  # how many of them are in text given out

    def add(self, token_id: int) -> str:
        """What can be given out now that one more token is known; "" where a character is not whole."""
        self._ids.append(token_id)
        added = self._added()
        if added.endswith(UNFINISHED) and len(self._ids) - self._shown < LONGEST:
            return ""
        return self._give(added)

    def finish(self) -> str:
        """What is left at the end, without the bytes of a character that was never completed."""
        return self._give(self._added().rstrip(UNFINISHED))

    def _added(self) -> str:
        known = self._tokenizer.decode(self._ids[: self._shown])
        return self._tokenizer.decode(self._ids)[len(known) :]

    def _give(self, added: str) -> str:
        self._shown = len(self._ids)
        drop = max(0, self._shown - CONTEXT)
        del self._ids[:drop]
        self._shown -= drop
        return added


class StopStrings:
    """Text up to the first of some strings, wherever pieces begin and end."""

    def __init__(self, strings: Iterable[str]) -> None:
        self._strings = tuple(strings)
        self._held = ""
        self.found: str | None = None

    def add(self, piece: str) -> str:
        """What can be given out: not what begins a stop string. ``found`` says which one was met."""
        text = self._held + piece
        places = [(text.find(string), -len(string), string) for string in self._strings if string in text]
        if places:
            place, _, self.found = min(places)
            self._held = ""
            return text[:place]
        held = max((_overlap(text, string) for string in self._strings), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def finish(self) -> str:
        """What was held back, now that nothing follows."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, string: str) -> int:
    """How many characters at the end of ``text`` begin ``string``."""
    for length in range(min(len(text), len(string) - 1), 0, -1):
        if string.startswith(text[-length:]):
            return length
    return 0
