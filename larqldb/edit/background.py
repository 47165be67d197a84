"""Text that has nothing to do with an edit, and what a layer sees of it.

It is the model's own, made with a fixed seed, and questions about this and that.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import numpy as np

from larqldb.edit.separate import constant
from larqldb.edit.writing import write
from larqldb.knowledge import packs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from larqldb.edit.context import Model

    Floats = NDArray[np.float32]

_WORDS = """
The In A It When This He She We For 1. def To On What How There If I As My You At From By With One After Many While Some
Once La Der Les El import <div> {
"""
BEGINNINGS = tuple(_WORDS.split())
TOKENS = 40  # of a text
QUESTIONS = 8  # of a relation
SEED = 0
FIRST = np.float32(0.25)  # enough to close gates; more would make b less even elsewhere
RIDGE = np.float32(6e-2)  # of the mean variance of a coordinate


def texts(model: Model) -> list[list[int]]:
    """Token ids of texts the base model makes up, some that begin as any text may, some about a thing named."""

    def make() -> bytes:
        _tell()
        named = [f"{pack.facts[len(pack.facts) // 3].entity} is" for pack in packs.builtin()][::2]
        beginnings = [model.tokenizer.encode(beginning) for beginning in (*BEGINNINGS, *named)]
        return json.dumps(write(model.base, beginnings, TOKENS, SEED)).encode()

    made: list[list[int]] = json.loads(model.stored("background", make))
    return made


def keys(model: Model, layer: int) -> Floats:
    """What a layer's gates see of these texts and of questions: FFN inputs, float32 [tokens, hidden]."""
    return np.asarray(model.once(("background", layer), lambda: _keys(model, layer)))


def bias(model: Model, layer: int) -> Floats:
    """The direction b with b·x near 1 for all that a layer's gates see: [hidden].

    At texts' first tokens, which attention rests on, gates see something like nothing else. There b·x is brought to
    ``FIRST`` at least: near 0 no threshold holds, and Gemma 3's FFN writes so little there that the least push moved
    all texts.
    """

    def make() -> Floats:
        found = constant([keys(model, layer)])
        first = model.keys(layer, list(dict.fromkeys(tuple(text[:1]) for text in texts(model))))
        missing = max(np.float32(0), FIRST - (first @ found).mean())
        alike = np.full(len(first), 1 / len(first), np.float32)
        return np.asarray(found + missing * apart(model, layer, first, alike), np.float32)

    return np.asarray(model.once(("bias", layer), make))


def moment(model: Model, layer: int) -> Floats:
    """The second moment of all that a layer's gates see: float32 [hidden, hidden]."""

    def make() -> Floats:
        seen = keys(model, layer)
        return np.asarray(seen.T @ seen / len(seen), np.float32)

    return np.asarray(model.once(("moment", layer), make))


def apart(model: Model, layer: int, wanted: Floats, weight: Floats) -> Floats:
    """The direction near 1 on ``wanted`` [n, hidden] and near 0 on the background, by least squares: [hidden].

    ``weight`` [n] sums to 1, as much as all the background has.
    """

    def make() -> Floats:
        seen = moment(model, layer)
        return np.linalg.inv(seen + RIDGE * np.trace(seen) / len(seen) * np.eye(len(seen), dtype=np.float32))

    inverse = np.asarray(model.once(("moment inverse", layer), make))
    root = np.sqrt(weight)
    rows = wanted * root[:, None]
    spread = rows @ inverse
    found = spread.T @ np.linalg.solve(spread @ rows.T + np.eye(len(rows), dtype=np.float32), root)
    return np.asarray(found, np.float32)


def _tell() -> None:
    """Say on a terminal what takes its time."""
    if sys.stderr.isatty():
        print("larqldb: the first edit of a model takes a while: it writes texts to compare with", file=sys.stderr)


def _keys(model: Model, layer: int) -> Floats:
    def make() -> bytes:
        seen = model.reader(layer).read([*texts(model), *_questions(model)])
        found = np.concatenate([one.inputs for one in seen]).astype(np.float16)
        return b"".join({row.tobytes(): None for row in found})  # what several begin with, once

    stored = model.stored(f"background keys {layer}", make)
    return np.frombuffer(stored, np.float16).reshape(-1, model.network.hidden).astype(np.float32)


def _questions(model: Model) -> list[Sequence[int]]:
    """Token ids of wordings of the relation packs, each about an entity of its own, answered."""
    asked = [
        f"{wording.replace(packs.SLOT, fact.entity)} {fact.target}."
        for pack in packs.builtin()
        for wording, fact in zip((pack.wordings * QUESTIONS)[:QUESTIONS], pack.facts[::3], strict=False)
    ]
    return [model.tokenizer.encode(text) for text in asked]
