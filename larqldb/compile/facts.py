"""Inserted facts asked of the weights as they are written, and finer types where coarse ones lose a fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.compile.encoding import FINER, Encoding, rounded
from larqldb.compile.outcomes import Outcome
from larqldb.edit.asking import asking
from larqldb.edit.measuring import target_ids
from larqldb.model import graph
from larqldb.model.dtypes import as_float32
from larqldb.model.observe import log_probabilities
from larqldb.model.runner import Runner
from larqldb.storage import edits

if TYPE_CHECKING:
    from larqldb.compile.state import BakedModel
    from larqldb.functions.session import Session
    from larqldb.model.tokenizer import Tokenizer

ANSWERED, UNANSWERED = "answered after rounding", "not what the vindex answers either"
LOST = "lost in rounding to {}: a finer type may keep it"
GIVEN_UP = "lost with the features that were given up: SLOTS GROW keeps it"


def settle(session: Session, model: BakedModel, encoding: Encoding) -> tuple[Encoding, list[Outcome]]:
    """Ask every inserted fact of the weights as ``encoding`` rounds them; where one is lost, take a finer one.

    Finer are then the feed-forward matrices of the layers that were edited: the coarsest type that keeps most facts.
    Where nothing is rounded, facts may be lost to slots that were given up, and nothing is tried.
    """
    facts = edits.inserted(session.db)
    prompts = [asking(session.db, fact.entity, fact.relation).prompts[0] for fact in facts]
    edited = [layer for layer, slots in model.slots.items() if slots.places]

    def ask(runner: Runner) -> list[tuple[float, bool]]:
        return [
            _read(runner, session.tokenizer, prompt, fact.target) for prompt, fact in zip(prompts, facts, strict=True)
        ]

    base = Runner(model.network, _Rounded(model, encoding))
    tried = [(encoding, ask(base))]
    for kind in FINER.get(encoding.wanted or "", ()):
        if all(answers for _, answers in tried[-1][1]):
            break
        finer = replace(encoding, finer=MappingProxyType(dict.fromkeys(edited, kind)))
        tried.append((finer, ask(base.given(_matrices(model, finer, edited)))))
    del base
    kept = max(range(len(tried)), key=lambda place: (sum(answers for _, answers in tried[place][1]), -place))
    chosen, found = tried[kept]
    live: list[tuple[float, bool]] | None = None
    outcomes = []
    for number, (fact, (probability, answers)) in enumerate(zip(facts, found, strict=True)):
        note = ANSWERED
        if answers and not tried[0][1][number][1]:
            note = f"{ANSWERED}; its layer is kept in {chosen.finer[edited[0]]}, because {encoding.wanted} loses it"
        if not answers:
            live = live or ask(session.runner)
            lost = LOST.format(encoding.wanted) if encoding.wanted else GIVEN_UP
            note = lost if live[number][1] else UNANSWERED
        outcomes.append(Outcome.of(fact, probability, answers, note))
    return chosen, outcomes


class _Rounded:
    """The weights of a model as an encoding rounds them, for a network to run."""

    def __init__(self, model: BakedModel, encoding: Encoding) -> None:
        self._model, self._encoding = model, encoding

    def __call__(self, role: str, layer: int | None) -> np.ndarray[Any, Any]:
        found = self._model.store.find(role, layer)
        assert found is not None
        array = self._model.weights(role, layer)
        matrix = array.T if role == "down" else array
        dtype = self._model.dtype(found.tensor)
        kind = self._encoding.type(found.tensor, dtype, matrix.shape)
        if kind == dtype:
            return array
        made = rounded(found.name, np.ascontiguousarray(matrix), kind)
        return np.ascontiguousarray(made.T) if role == "down" else made


def _matrices(model: BakedModel, encoding: Encoding, layers: Sequence[int]) -> dict[str, np.ndarray[Any, Any]]:
    """The feed-forward matrices of some layers by their names in the graph."""
    weights = _Rounded(model, encoding)
    roles = [role for role in ("gate", "up", "down") if model.network.has(role)]
    return {graph.weight_name(role, layer): as_float32(weights(role, layer)) for layer in layers for role in roles}


def _read(runner: Runner, tokenizer: Tokenizer, prompt: str, target: str) -> tuple[float, bool]:
    """The probability of a whole target after a prompt, and whether each of its tokens is the likeliest."""
    ids, wanted = tokenizer.encode(prompt), target_ids(tokenizer, target)
    logs = log_probabilities(runner.batch([[*ids, *wanted[:step]] for step in range(len(wanted))]))
    probability = float(np.exp(logs[np.arange(len(wanted)), wanted].sum()))
    return probability, bool((logs.argmax(axis=1) == wanted).all())
