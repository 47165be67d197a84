"""The real models, from their vindexes, against the logits transformers gave (tools/record_golden)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from larqldb.functions.session import Session
from larqldb.storage.database import open_database

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MODELS = ("smollm2", "gemma3")
TOLERANCE = 2e-4


class Golden:
    """What was recorded for one model; ``record(index)`` is one prompt's arrays by name."""

    def __init__(self, name: str) -> None:
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            self.arrays = dict(arrays)
        self.spread, self.few = self.arrays["spread"], self.arrays["few"]
        self.count = sum(key.endswith("/ids") for key in self.arrays)

    def record(self, index: int) -> dict[str, np.ndarray]:
        start = f"{index}/"
        return {key.removeprefix(start): array for key, array in self.arrays.items() if key.startswith(start)}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return (self.record(index) for index in range(self.count))


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    """A session on a real model's vindex, and what was recorded for it."""
    db = open_database(request.getfixturevalue(f"{request.param}_vindex"), read_only=True)
    yield Session(db), Golden(request.param)
    db.close()


def test_the_record_is_what_it_should_be(model):
    golden = model[1]
    lengths = [len(record["ids"]) for record in golden]
    assert len(lengths) >= 40
    assert sum(length > 300 for length in lengths) >= 3
    assert max(lengths) > 1000


def test_tokens_are_those_of_transformers(model):
    session, golden = model
    for record in golden:
        prompt = record["prompt"].tobytes().decode()
        assert session.tokenizer.encode(prompt) == record["ids"].tolist(), prompt


def test_next_token_logits_are_those_of_transformers(model):
    session, golden = model
    for record in golden:
        logits = session.runner.logits(record["ids"].tolist())
        assert logits.argmax() == record["top"][0]
        assert np.abs(logits[record["top"]] - record["top_logits"]).max() < TOLERANCE
        assert np.abs(logits[golden.spread] - record["spread_logits"]).max() < TOLERANCE
        others = np.delete(logits, record["top"])
        assert others.max() < record["top_logits"][-1] + TOLERANCE  # nothing else belongs into the top 50


def test_logits_at_every_position_are_those_of_transformers(model):
    session, golden = model
    records = [record for record in golden if "every_top" in record]
    assert len(records) >= 5
    for record in records:
        logits = session.runner.all_logits(record["ids"].tolist())
        assert (logits.argmax(-1) == record["every_top"]).all()
        assert np.abs(logits.max(-1) - record["every_top_logit"]).max() < TOLERANCE
        assert np.abs(logits[:, golden.few] - record["every_few"]).max() < TOLERANCE


@pytest.mark.parametrize(
    ("vindex", "prompt", "token", "probability"),
    [
        ("smollm2_vindex", "The capital of France is", " Paris", 0.77),
        ("smollm2_vindex", "Albert Einstein was a famous", " physicist", 0.75),
        ("gemma3_vindex", "The Eiffel Tower is located in the city of", " Paris", 0.76),
    ],
)
def test_known_answers(request, vindex, prompt, token, probability):
    db = open_database(request.getfixturevalue(vindex), read_only=True)
    session = Session(db)
    logits = session.runner.logits(session.tokenizer.encode(prompt)).astype(np.float64)
    best = int(logits.argmax())
    db.close()
    assert session.tokenizer.text(best) == token
    assert 1 / np.exp(logits - logits.max()).sum() == pytest.approx(probability, abs=0.01)
