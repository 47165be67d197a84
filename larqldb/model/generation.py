"""Generating text: tokens chosen one by one until something ends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from larqldb.model.sampling import Sampler, Sampling
from larqldb.model.text_stream import StopStrings, TextStream

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from larqldb.model.tokenizer import Tokenizer


class Reader(Protocol):
    """What reads a text token by token: ``Decoder``, and ``Walker``."""

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another token."""

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Read more tokens; logits of the one after them: float32 [vocab]."""


class Generation:
    """Text that follows a prompt: iterating gives its pieces as they are made.

    ``ids`` are the tokens chosen so far, the one that ended the text left out. ``reason`` says why it ended: "end"
    (the model's own end of text), "stop" (a stop string), "length" (``max_tokens``) or "context" (the model can read
    no more); None before. ``stop_ids`` are the tokens that end the text. The prompt is read when the first piece is
    asked for, after what the decoder holds; afterwards the decoder has read all of ``ids`` but perhaps the last.
    """

    def __init__(
        self,
        decoder: Reader,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        *,
        max_tokens: int,
        sampling: Sampling = Sampling(),  # noqa: B008 - it is immutable
        stop: Sequence[str] = (),
        stop_ids: Collection[int] = (),
    ) -> None:
        self.ids: list[int] = []
        self.reason: str | None = None
        self._decoder = decoder
        self._prompt = prompt
        self._max_tokens = max_tokens
        self._sampler = Sampler(sampling)
        self._stop_ids = stop_ids
        self._text = TextStream(tokenizer, prompt)
        self._stop = StopStrings(stop)
        self._pieces = self._run()

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def _run(self) -> Iterator[str]:
        logits = self._decoder.read(self._prompt)
        while self.reason is None:
            piece = self._next(logits)
            if piece:
                yield piece
            if self.reason is None:
                logits = self._decoder.read(self.ids[-1:])
        if self.reason != "stop":
            rest = self._stop.add(self._text.finish()) + ("" if self._stop.found else self._stop.finish())
            if rest:
                yield rest

    def _next(self, logits: NDArray[np.float32]) -> str:
        """Choose a token; what it lets out of the text."""
        token = self._sampler.choose(logits)
        if token in self._stop_ids:
            self.reason = "end"
            return ""
        self.ids.append(token)
        piece = self._stop.add(self._text.add(token))
        if self._stop.found is not None:
            self.reason = "stop"
        elif len(self.ids) >= self._max_tokens:
            self.reason = "length"
        elif self._decoder.is_full:
            self.reason = "context"
        return piece


def end_of_text(files: Mapping[str, bytes], tokenizer: Tokenizer) -> frozenset[int]:
    """The ids of tokens that end a text, as a model's files say (name → content).

    ``eos_token_id`` in generation_config.json, else in config.json, a number or a list; and ``eos_token`` in
    tokenizer_config.json.
    """
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        value = _object(files, name).get("eos_token_id")
        if value is not None:
            found.update(i for i in (value if isinstance(value, list) else [value]) if isinstance(i, int))
            break
    token = _object(files, "tokenizer_config.json").get("eos_token")
    token = token.get("content") if isinstance(token, dict) else token
    if isinstance(token, str) and (token_id := tokenizer.token_id(token)) is not None:
        found.add(token_id)
    return frozenset(found)


def _object(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none."""
    value = json.loads(files.get(name, b"{}"))
    return value if isinstance(value, dict) else {}
