"""The model's own tokenizer: text to token ids and back, and what each token adds to a text."""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import tokenizers
from tokenizers import processors

from larqldb.errors import BadModelFile, BadPrompt, MissingPart

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")  # how SentencePiece writes a byte its vocabulary has no character for


class Tokenizer:
    """A tokenizer from the files a model came with (name → content).

    Needs ``tokenizer.json``; whether a text starts with BOS is read there, and in ``tokenizer_config.json``. Raises
    MissingPart when ``tokenizer.json`` is not among the files, BadModelFile when one of them cannot be read.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        if "tokenizer.json" not in files:
            raise MissingPart(
                statement="turning text into tokens",
                part="tokenizer.json",
                remedy="Add the file to the model's folder and extract it again",
            )
        config = _object(files, "tokenizer_config.json")
        try:
            self._tokenizer = tokenizers.Tokenizer.from_buffer(files["tokenizer.json"])
        except Exception as error:  # the library raises bare Exception for everything it does not understand
            raise _bad("tokenizer.json", str(error)) from error
        # Some files carry the truncation or padding of their last training run.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        if self._tokenizer.post_processor is None:  # where there is one, transformers too ignores add_bos_token
            self._set_template(config)
        added = self._tokenizer.get_added_tokens_decoder()
        self._added = frozenset(added)
        self.special_ids: frozenset[int] = frozenset(i for i, token in added.items() if token.special)
        self._byte_level = "ByteLevel" in (*_types(self._tokenizer.decoder), *_types(self._tokenizer.pre_tokenizer))

    @property
    def size(self) -> int:
        """The largest token id plus one; the model's vocabulary may be padded beyond it."""
        return len(self._pieces)

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """The token ids of ``text``; with ``special`` the tokens the model wants around every text (BOS).

        Raises BadPrompt for a string that is no text (half of a surrogate pair).
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadPrompt(
                problem=f"character {error.start + 1} of the prompt is half of a surrogate pair",
                remedy="Give valid Unicode text",
            ) from error
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=special).ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, special tokens left out; bytes that are no UTF-8 become U+FFFD."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def piece(self, token_id: int) -> str:
        """The token as the vocabulary writes it ("ĠParis", "▁Paris", "<0x0A>"); "" for an unused id."""
        return (self._tokenizer.id_to_token(token_id) or "") if 0 <= token_id < 1 << 32 else ""

    def token_id(self, piece: str) -> int | None:
        """The id of a token as the vocabulary writes it; None where it has no such token."""
        found: int | None = self._tokenizer.token_to_id(piece)
        return found

    def text(self, token_id: int) -> str:
        """What the token adds to a text (" Paris"); "" for an unused id, U+FFFD for part of a character."""
        return self._read(token_id, self.piece(token_id))

    def texts(self) -> list[str]:
        """The text of every token, by id: ``size`` strings."""
        return [self._read(token_id, piece) for token_id, piece in enumerate(self._pieces)]

    @cached_property
    def _pieces(self) -> list[str]:
        """Every piece by id. Takes half a second for 262,144 of them, so it waits until somebody wants them all."""
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        pieces = [""] * (max(vocabulary.values(), default=-1) + 1)
        for piece, token_id in vocabulary.items():
            pieces[token_id] = piece
        return pieces

    def _read(self, token_id: int, piece: str) -> str:
        if token_id in self._added:
            return piece
        return _byte_level_text(piece) if self._byte_level else _sentence_piece_text(piece)

    def _set_template(self, config: Mapping[str, Any]) -> None:
        """Put BOS and EOS around texts as tokenizer_config.json asks; for a tokenizer.json without a post-processor."""
        before = self._special(config, "bos_token") if config.get("add_bos_token") else None
        after = self._special(config, "eos_token") if config.get("add_eos_token") else None
        self._tokenizer.post_processor = processors.TemplateProcessing(
            single=[token for token in (before, "$A", after) if token],
            pair=[token for token in (before, "$A", "$B", after) if token],
            special_tokens=[(token, self._tokenizer.token_to_id(token)) for token in (before, after) if token],
        )

    def _special(self, config: Mapping[str, Any], key: str) -> str | None:
        """The special token under ``key`` (a string, or an object with its content), if the vocabulary has it."""
        value = config.get(key)
        token = value.get("content") if isinstance(value, dict) else value
        if token is None:
            return None
        if not isinstance(token, str) or self._tokenizer.token_to_id(token) is None:
            raise _bad("tokenizer_config.json", f"{key} is {token!r}, which tokenizer.json does not have")
        return token


def _object(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """The JSON object in a file; empty when the file is not there."""
    try:
        value = json.loads(files.get(name, b"{}").decode("utf-8"))
    except ValueError as error:
        raise _bad(name, f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise _bad(name, "not a JSON object")
    return value


def _bad(name: str, problem: str) -> BadModelFile:
    return BadModelFile(
        path=name, problem=problem, remedy="Check that the file belongs to the model and came over whole"
    )


def _types(component: Any) -> set[str]:
    """The types a decoder or pre-tokenizer is made of; a sequence counts as its parts."""
    state = component.__getstate__() if component is not None else b"{}"
    return set(re.findall(r'"type":\s*"(\w+)"', state.decode("utf-8")))


def _byte_alphabet() -> dict[str, int]:
    """The character GPT-2's byte-level BPE writes for each byte → the byte.

    Printable Latin-1 stands for itself, the others, in order, for the characters from U+0100 on.
    https://github.com/openai/gpt-2/blob/master/src/encoder.py
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(rest)}


BYTE_ALPHABET = _byte_alphabet()


def _byte_level_text(piece: str) -> str:
    try:
        return bytes([BYTE_ALPHABET[character] for character in piece]).decode("utf-8", "replace")
    except KeyError:  # not written in the alphabet: stands for itself
        return piece


def _sentence_piece_text(piece: str) -> str:
    if byte := BYTE_PIECE.fullmatch(piece):
        return bytes([int(byte[1], 16)]).decode("utf-8", "replace")
    return piece.replace("▁", " ")
