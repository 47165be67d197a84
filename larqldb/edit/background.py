"""Text that has nothing to do with an edit: the model's own, made with a fixed seed, and what its layers see of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from larqldb.edit.reading import Reader
from larqldb.knowledge.together import Together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from larqldb.edit.context import Model

_WORDS = """
The In A It When This He She We For 1. def To On What How There If I As My You At From By With One After Many While Some
Once
"""
BEGINNINGS = tuple(_WORDS.split())
TEXTS = 64
TOKENS = 64  # of a text
SKIPPED = 3  # tokens at a text's beginning: those read before them stand in for it, and look like nothing else
MASS = 0.95  # of the probability is sampled from


def texts(model: Model) -> list[list[int]]:
    """Token ids of texts the base model makes up, sampled from its most probable tokens with a fixed seed."""
    stored = model.kept.get("background")
    if stored is None:
        stored = model.kept["background"] = json.dumps(_make_up(model)).encode()
    made: list[list[int]] = json.loads(stored)
    return made


def keys(model: Model, layer: int) -> NDArray[np.float32]:
    """What a layer's gates see of these texts: FFN inputs, float32 [tokens, hidden]."""
    name = f"background keys {layer}"
    stored = model.kept.get(name)
    if stored is None:
        watched = f"layers.{layer}.ffn_input"
        reader = Reader(model.base, [watched], logits=False)
        seen = reader.read_everywhere(texts(model))
        found = [inputs[watched][SKIPPED:] for _, inputs in sorted(seen, key=lambda pair: pair[0])]
        stored = model.kept[name] = np.concatenate(found).astype(np.float16).tobytes()
    return np.frombuffer(stored, np.float16).reshape(-1, model.network.hidden).astype(np.float32)


def _make_up(model: Model) -> list[list[int]]:
    generator = np.random.default_rng(0)
    reading = Together(model.base).begin([])
    beginnings = (BEGINNINGS * TEXTS)[:TEXTS]
    made = [list(model.tokenizer.encode(beginning)) for beginning in beginnings]
    step: dict[int, Sequence[int]] = dict(enumerate(made))
    for _ in range(TOKENS):
        logits, _ = reading.read(step)
        chosen = [_sample(row, generator) for row in logits]
        step = {number: [token] for number, token in enumerate(chosen)}
        for ids, token in zip(made, chosen, strict=True):
            ids.append(token)
    return made


def _sample(logits: NDArray[np.float32], generator: np.random.Generator) -> int:
    """A token by its probability, the unlikeliest left out."""
    order = np.argsort(-logits, kind="stable")
    probabilities = np.exp(logits[order].astype(np.float64) - logits[order[0]])
    probabilities /= probabilities.sum()
    count = int(np.searchsorted(np.cumsum(probabilities), MASS)) + 1
    return int(order[generator.choice(count, p=probabilities[:count] / probabilities[:count].sum())])
