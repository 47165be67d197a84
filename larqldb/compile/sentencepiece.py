"""Reading tokenizer.model, SentencePiece's own file: a protocol buffer with a piece for each token.

The message is https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto: ModelProto has
``pieces`` as field 1, a SentencePiece has ``piece`` (1), ``score`` (2) and ``type`` (3). The wire format is
https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from larqldb.errors import BadModelFile

PIECES, PIECE, SCORE, TYPE = 1, 1, 2, 3
NORMAL = 1
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Piece:
    """A token: its text, score and type (1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte)."""

    text: str
    score: float
    kind: int


def pieces(content: bytes) -> list[Piece]:
    """The tokens of a tokenizer.model in order; BadModelFile where it is none."""
    try:
        return [_piece(value) for number, value in _fields(content) if number == PIECES and isinstance(value, bytes)]
    except (IndexError, struct.error, ValueError, TypeError):
        raise BadModelFile(
            path="tokenizer.model",
            problem="it is no SentencePiece model, or cut short",
            remedy="Get the model's files again",
        ) from None


def _piece(message: bytes) -> Piece:
    text, score, kind = "", 0.0, NORMAL
    for number, value in _fields(message):
        if number == PIECE and isinstance(value, bytes):
            text = value.decode()
        elif number == SCORE and isinstance(value, bytes):
            (score,) = struct.unpack("<f", value)
        elif number == TYPE and isinstance(value, int):
            kind = value
    return Piece(text, score, kind)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: their numbers, with a number or bytes each."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if wire == _BYTES:
            size, place = _varint(message, place)
        else:
            size = {_FOUR_BYTES: 4, _EIGHT_BYTES: 8}[wire] if wire in (_FOUR_BYTES, _EIGHT_BYTES) else -1
        if size < 0 or place + size > len(message):
            raise ValueError(wire)
        yield number, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7
