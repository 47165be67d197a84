"""What each layer does, from traces of the model's own: the evidence for the bands syntax, knowledge and output.

The model is run on facts that differ in their subject alone ("The capital of France is", "The capital of Japan is").

* Output begins where the residual at the last position tells a fact's answer from the other subjects' answers, by the
  logit lens, and does so up to the end: the answer has arrived, what follows turns it into a word. Before, it does no
  better than chance.
* Syntax ends after the last layer that the answer cannot do without at the subject's own position: silencing its
  attention or its FFN there, alone, costs half of the answer's margin over the others. Such layers put the subject's
  tokens together. Later ones enrich it side by side, each of them dispensable; that is the band between, knowledge.

Geva et al., Dissecting Recall of Factual Associations in Auto-Regressive Language Models,
https://arxiv.org/abs/2304.14767. Extraction leaves this out: it must be fast, and needs no network.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from larqldb.errors import DataError
from larqldb.functions.runs import answer_token, run
from larqldb.model.norms import unit
from larqldb.storage.dtypes import as_float32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session

METHOD = (
    "traces of {count} facts: output from the layer whose logit lens at the last position tells answers apart to the "
    "end; syntax up to the last layer whose attention or FFN at the subject carries half of the answer's margin"
)
FACTS: dict[str, dict[str, str]] = {
    "The capital of {} is": {
        "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Japan": "Tokyo", "Spain": "Madrid",
        "Russia": "Moscow", "England": "London", "Egypt": "Cairo", "China": "Beijing", "Greece": "Athens",
    },
    "People in {} speak": {
        "France": "French", "Germany": "German", "Italy": "Italian", "Japan": "Japanese", "Spain": "Spanish",
        "Russia": "Russian", "England": "English", "Egypt": "Arabic", "China": "Chinese", "Greece": "Greek",
    },
    "The opposite of {} is": {
        "hot": "cold", "big": "small", "up": "down", "day": "night", "good": "bad",
        "old": "new", "fast": "slow", "rich": "poor", "light": "dark", "love": "hate",
    },
}  # fmt: skip
HALF = 0.5
SILENCED = 6  # facts that knockouts are measured on

Role = tuple[int, str, float, float | None]


def layer_roles(session: Session) -> list[Role]:
    """A row for each layer: layer, band, answers_read, knockout, as the table ``layers`` has them.

    Knockouts are measured below the output band, NULL above. Raises MissingPart where the vindex does not hold the
    network, DataError where the model does not know the facts.
    """
    layers = session.layers
    read = np.mean([_answers_read(session, template, facts) for template, facts in FACTS.items()], axis=0)
    if read[-1] < HALF:
        raise DataError(
            f"the model knows {read[-1]:.0%} of the facts that bands are found by; they stay as extraction found them"
        )
    output = 1 + max((layer for layer in layers if read[layer] < HALF), default=-1)
    template, facts = next(iter(FACTS.items()))
    lost = _knockouts(session, template, facts, range(output))
    syntax = 1 + max((layer for layer in range(output) if lost[layer] > HALF), default=-1)
    bands = ["syntax" if layer < syntax else "knowledge" if layer < output else "output" for layer in layers]
    return [
        (layer, band, float(read[layer]), float(lost[layer]) if layer < output else None)
        for layer, band in zip(layers, bands, strict=True)
    ]


def _answers_read(session: Session, template: str, facts: dict[str, str]) -> NDArray[np.float64]:
    """For each layer, the share of facts whose own answer the lens at the last position prefers: [layers].

    Preference is over the mean of the same answer's logit for all subjects: how likely words are says nothing.
    """
    tokens = _answers(session, template, facts)
    role = "embed" if session.network.tied else "head"
    unembedding = as_float32(session.store.read_rows(role, tokens)) * session.norm("final_norm", None)
    logits = []
    for subject in facts:
        seen = run(session, "larqldb bands", template.format(subject))
        residuals = np.concatenate([seen.part("residual", layer) for layer in session.layers])
        logits.append(unit(session.network, residuals) @ unembedding.T)  # [layers, answers]; a bias is in all alike
    preferred = _centred(np.array(logits)).argmax(axis=2)  # [facts, layers]
    return np.asarray((preferred == np.arange(len(facts))[:, None]).mean(axis=0))


def _knockouts(session: Session, template: str, facts: dict[str, str], layers: range) -> list[float]:
    """For each layer, the larger share of the answers' margin lost without its attention or its FFN at the subject."""
    from larqldb.model.interventions import Replace, one_by_one
    from larqldb.model.runner import Runner

    before = template.partition("{}")[0]
    tokens, hidden = _answers(session, template, facts), session.network.hidden
    prompts = [session.tokenizer.encode(template.format(subject)) for subject in facts]
    places = [
        (len(ids), len(session.tokenizer.encode(before + name)) - 1) for ids, name in zip(prompts, facts, strict=True)
    ]
    ((length, place), _), *_ = Counter(places).most_common(1)  # one change of the graph serves all prompts alike
    alike = [i for i, found in enumerate(places) if found == (length, place)][:SILENCED]

    def margin(runner: Runner) -> float:
        logits = np.array([runner.logits(prompts[i])[tokens] for i in alike])
        return float(_centred(logits)[np.arange(len(alike)), alike].mean())

    whole = margin(session.runner)
    where, nothing = np.zeros((length, hidden), np.bool_), np.zeros((length, hidden), np.float32)
    where[place] = True
    blocks = ("attention_output", "ffn_output")
    silent = [Replace(f"layers.{layer}.{block}", where, nothing) for layer in layers for block in blocks]
    left = np.array([margin(runner) for runner in one_by_one(session.runner, silent)])
    lost: list[float] = (1 - left.reshape(-1, len(blocks)).min(axis=1) / whole).tolist()
    return lost


def _answers(session: Session, template: str, facts: dict[str, str]) -> list[int]:
    return [answer_token(session, template, answer)[0] for answer in facts.values()]


def _centred(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits [facts, …, answers] less each answer's mean over the facts."""
    return np.asarray(logits - logits.mean(axis=0, keepdims=True))
