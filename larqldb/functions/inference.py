"""Running the model from SQL: infer()."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.functions.arguments import one_of, positive
from larqldb.functions.runs import prompt_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session


MODES = ("dense", "walk")


def infer(
    session: Session, prompt: str, top: int = 5, mode: str | None = None, compare: int = 0
) -> Iterator[tuple[Any, ...]]:
    """The ``top`` tokens that follow a prompt and their probabilities.

    ``mode`` dense runs the whole network, walk the features that contribute most; without it dense, or walk on a
    connection opened with ``walk=``. Columns: rank, token, token_id, probability, mode, then of the whole answer: kl
    (of this mode's distribution to the whole network's, in nats; NULL unless ``compare``), rows_pulled (of the
    feed-forward features, for the walk alone, as the next two), row_share (of all rows), bytes_read (from the file).
    """
    ids = prompt_ids(session, "INFER", prompt)
    count = positive(top, "top")
    mode = one_of(session.walking.mode if mode is None else mode, MODES, "mode")
    walked: tuple[int | None, float | None, int | None] = (None, None, None)
    if mode == "walk":
        logits, walked = session.walking.logits(ids)
    else:
        logits = session.runner.logits(ids)
    probabilities = softmax(logits)
    kl = divergence(softmax(session.runner.logits(ids)), probabilities) if compare else None
    order = np.lexsort((np.arange(len(probabilities)), -probabilities))[:count]
    for rank, token_id in enumerate(order.tolist(), start=1):
        probability = float(probabilities[token_id])
        yield rank, session.tokenizer.text(token_id), token_id, probability, mode, kl, *walked


def divergence(true: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Kullback-Leibler divergence of another distribution from the true one, in nats: Σ p·ln(p / q)."""
    some = true > 0
    return float(np.sum(true[some] * (np.log(true[some]) - np.log(np.maximum(other[some], np.finfo(float).tiny)))))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities of logits [vocab], computed in float64."""
    exponents = np.exp(logits.astype(np.float64) - float(logits.max()))
    return np.asarray(exponents / exponents.sum())
