"""Running the model from SQL: infer(), generate(), and the pieces of text that Connection.generate gives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import apsw
import numpy as np

from larqldb.errors import ProgrammingError
from larqldb.functions.arguments import one_of, positive
from larqldb.functions.runs import prompt_ids
from larqldb.model.sampling import check_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session
    from larqldb.model.generation import Generation
    from larqldb.model.sampling import Sampling

MODES = ("dense", "walk")
TOGETHER = 64  # prompts whose logits are held at a time


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
        logits = session.runner.logits(ids) if session.ahead is None else session.ahead.logits(prompt, ids)
    probabilities = softmax(logits)
    kl = divergence(softmax(session.runner.logits(ids)), probabilities) if compare else None
    order = np.lexsort((np.arange(len(probabilities)), -probabilities))[:count]
    for rank, token_id in enumerate(order.tolist(), start=1):
        probability = float(probabilities[token_id])
        yield rank, session.tokenizer.text(token_id), token_id, probability, mode, kl, *walked


def infer_batch(session: Session, prompts: str, top: int = 5) -> Iterator[tuple[Any, ...]]:
    """What ``infer`` gives for each of a JSON array of prompts, from the whole network, run together.

    Columns: position (of the prompt in the array, from 0), prompt, rank, token, token_id, probability. Example:
    ``infer_batch((SELECT json_group_array(text) FROM prompts))``. A plain ``prompts JOIN infer(prompts.text)`` runs
    prompts together too, as far as what it will ask for can be foreseen (``ahead``).
    """
    texts = _texts(prompts)
    ids = [prompt_ids(session, "INFER", text) for text in texts]
    count = positive(top, "top")
    for start in range(0, len(ids), TOGETHER):
        for place, logits in enumerate(session.runner.batch(ids[start : start + TOGETHER]), start):
            for rank, token_id, probability in _best(logits, count):
                yield place, texts[place], rank, session.tokenizer.text(token_id), token_id, probability


def _texts(prompts: object) -> list[str]:
    """The texts in a JSON array; ProgrammingError where it is none."""
    try:
        texts = json.loads(prompts) if isinstance(prompts, str) else None
    except ValueError:
        texts = None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ProgrammingError("prompts must be a JSON array of texts, such as json_group_array(text) makes")
    return texts


def _best(logits: NDArray[np.float32], count: int) -> Iterator[tuple[int, int, float]]:
    """Rank, id and probability of the likeliest tokens; of equal ones the first goes first."""
    probabilities = softmax(logits)
    order = np.lexsort((np.arange(len(probabilities)), -probabilities))[:count]
    for rank, token_id in enumerate(order.tolist(), start=1):
        yield rank, token_id, float(probabilities[token_id])


def generate(session: Session, prompt: str, max_tokens: int = 64, mode: str | None = None) -> Iterator[tuple[Any, ...]]:
    """The text that follows a prompt, the likeliest token at every step, and how many tokens it has: one row.

    It ends at the model's end of text, after ``max_tokens``, or where the model's context is full. Interrupting the
    connection ends it with an error.
    """
    mode = one_of(session.walking.mode if mode is None else mode, MODES, "mode")
    made = generation(session, prompt, max_tokens=max_tokens, mode=mode)
    pieces = []
    for piece in made:
        pieces.append(piece)
        if session.db.is_interrupted:
            raise apsw.InterruptError("interrupted")
    yield "".join(pieces), len(made.ids)


def generation(
    session: Session,
    prompt: str,
    *,
    max_tokens: int,
    sampling: Sampling | None = None,
    stop: str | Sequence[str] | None = None,
    ignore_eos: bool = False,
    mode: str | None = None,
) -> Generation:
    """Text that follows a prompt, about to be made; ``mode`` as of ``infer``. Errors as of ``Connection.generate``."""
    from larqldb.model.generation import Generation
    from larqldb.model.prompts import check
    from larqldb.model.sampling import Sampling

    ids = prompt_ids(session, "generation", prompt)
    check(session.network, ids)
    return Generation(
        session.walking.walker() if (mode or session.walking.mode) == "walk" else session.runner.decoder(),
        session.tokenizer,
        ids,
        max_tokens=positive(max_tokens, "max_tokens"),
        sampling=sampling or Sampling(),
        stop=stop_strings(stop),
        stop_ids=frozenset() if ignore_eos else session.end_of_text,
    )


def stop_strings(stop: object) -> tuple[str, ...]:
    """The strings that end a text, from one, several or None; ProgrammingError for anything else."""
    strings = (stop,) if isinstance(stop, str) else () if stop is None else stop
    if not isinstance(strings, tuple | list) or not all(isinstance(string, str) and string for string in strings):
        raise ProgrammingError(f"stop must be text or a list of texts, none of them empty, not {stop!r}")
    return tuple(strings)


def divergence(true: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Kullback-Leibler divergence of another distribution from the true one, in nats: Σ p·ln(p / q)."""
    some = true > 0
    return float(np.sum(true[some] * (np.log(true[some]) - np.log(np.maximum(other[some], np.finfo(float).tiny)))))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities of logits [vocab], computed in float64. Raises NotANumber."""
    check_finite(logits)
    exponents = np.exp(logits.astype(np.float64) - float(logits.max()))
    return np.asarray(exponents / exponents.sum())
