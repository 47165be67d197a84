"""Running the model from SQL: infer()."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.errors import NotSupportedError, ProgrammingError
from larqldb.functions.arguments import positive

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session


def infer(session: Session, prompt: str, top: int = 5, mode: str = "dense") -> Iterator[tuple[Any, ...]]:
    """The ``top`` tokens that follow a prompt and their probabilities, from the whole network."""
    if not isinstance(prompt, str):
        raise ProgrammingError(f"prompt must be text, not {type(prompt).__name__}")
    if mode != "dense":
        raise NotSupportedError(f"INFER in mode {mode} is not available in this version; dense is")
    count = positive(top, "top")
    probabilities = softmax(session.runner.logits(session.tokenizer.encode(prompt)))
    order = np.lexsort((np.arange(len(probabilities)), -probabilities))[:count]
    for rank, token_id in enumerate(order.tolist(), start=1):
        yield rank, session.tokenizer.text(token_id), token_id, float(probabilities[token_id]), mode


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities of logits [vocab], computed in float64."""
    exponents = np.exp(logits.astype(np.float64) - float(logits.max()))
    return np.asarray(exponents / exponents.sum())
