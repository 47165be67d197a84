"""How a relation is asked for, as a layer sees it: what wordings have in common, whatever the entity.

What a layer sees where an answer is due is, near enough, something of the entity plus something of the wording. So what
other wordings would look like for an entity is known without reading them: what was read, and how those wordings differ
for other entities, on the mean. That is what makes an edit answer to wordings never seen (SmolLM2, 18 facts of three
relations: the gates open on 71 to 91 % of them, on 39 % without), and what keeps it from siblings in such wordings.

Others' answers are looked at as far as they go: behind "In Nigeria, people speak a" a language is due once more, and
half of the neighbours that changed did so there.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from larqldb.edit import background
from larqldb.knowledge.together import Together
from larqldb.knowledge.wordings import prompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from larqldb.edit.asking import Question, Relation
    from larqldb.edit.context import Model

    Floats = NDArray[np.float32]

THOROUGH = 12  # names that all wordings are read for
ANSWERS = 64  # others whose answers are looked at
ANSWER = 8  # tokens of each
ASKED = 48  # entities that are asked to know how answers to a question begin
OWN = 0.5  # weight of those names' wordings, beside that of the others' canonical one


@dataclass(frozen=True, eq=False)
class Manner:
    """A relation at a layer. n names, m of them thorough, w wordings that are read of a fact, v more; h hidden.

    ``canonical`` [n, h]: FFN inputs where the canonical wording's answer is due; ``wordings`` [m, w + v, h]: the same
    for all wordings of the first m names. ``begun`` [rows, h]: where answers to such prompts go on. ``asks`` [h]: the
    direction near 1 where the relation is asked for, near 0 on other text.
    """

    names: tuple[str, ...]
    read: int
    canonical: Floats
    wordings: Floats
    begun: Floats
    asks: Floats

    def others(self, entity: str) -> list[Floats]:
        """What other entities' prompts look like: those read, and those that follow from them. [rows, h] each."""
        kept = np.array([name.casefold() != entity.casefold() for name in self.names], np.bool_)
        return self._everybody if kept.all() else self._of(kept)

    @cached_property
    def _everybody(self) -> list[Floats]:
        return self._of(np.ones(len(self.names), np.bool_))

    def _of(self, kept: NDArray[np.bool_]) -> list[Floats]:
        """``others`` for some of the names: [n]."""
        canonical, whole = self.canonical[kept], self.wordings[kept[: len(self.wordings)]]
        if not len(whole):
            return [canonical]
        return [np.concatenate([canonical, whole.reshape(-1, canonical.shape[1])]), self.reworded(canonical)]

    def reworded(self, canonical: Floats) -> Floats:
        """What prompts would look like in all other wordings, by the canonical ones [n, h]: [n · (w + v - 1), h]."""
        mean = self.wordings.mean(axis=0) if len(self.wordings) else canonical[:1]
        return np.asarray((canonical[:, None] + (mean - mean[0])[None, 1:]).reshape(-1, canonical.shape[1]), np.float32)

    def implied(self, entity: str, read: Floats) -> Floats:
        """What wordings that were not read would look like, by those of the same entity that were [w, h]: [v, h]."""
        whole = self.wordings[[name.casefold() != entity.casefold() for name in self.names[: len(self.wordings)]]]
        if not len(whole) or self.read != len(read):
            return np.empty((0, read.shape[1]), np.float32)
        mean = whole.mean(axis=0)
        return np.asarray(read.mean(axis=0) + mean[self.read :] - mean[: self.read].mean(axis=0), np.float32)


def manner(model: Model, relation: Relation, layer: int) -> Manner:
    """How a relation is asked for at a layer; found out once."""
    found: Manner = model.once((relation, layer), lambda: _manner(model, relation, layer))
    return found


def _manner(model: Model, relation: Relation, layer: int) -> Manner:
    thorough = relation.names[:THOROUGH]
    templates = relation.wordings
    texts = [prompt(relation.templates[0], name) for name in relation.names]
    texts += [prompt(template, name) for name in thorough for template in templates]
    keys = _ends(model, layer, texts)
    canonical = keys[: len(relation.names)]
    whole = keys[len(relation.names) :].reshape(len(thorough), len(templates), -1)
    begun, asks = _begun(model, relation, layer), _asks(model, layer, canonical, whole)
    return Manner(relation.names, len(relation.templates) + len(relation.rephrased), canonical, whole, begun, asks)


def _begun(model: Model, relation: Relation, layer: int) -> Floats:
    """What the layer sees where others' answers, as the model gives them, have begun."""
    templates = relation.wordings
    prompts = [
        model.tokenizer.encode(prompt(template, name)) for name, template in zip(relation.names, cycle(templates))
    ][:ANSWERS]

    def make() -> Floats:
        name, rows = f"layers.{layer}.ffn_input", []
        together: Together = model.once(("together", layer), lambda: Together(model.base, [name]))
        texts = together.begin(())
        step: dict[int, Sequence[int]] = dict(enumerate(prompts))
        for _ in range(ANSWER + 1 if prompts else 0):
            logits, seen = texts.read(step)
            rows.append(seen[name])
            step = {number: [token] for number, token in enumerate(logits.argmax(axis=1).tolist())}
        return np.concatenate([np.empty((0, model.network.hidden), np.float32), *rows[1:]])

    return _kept(model, f"answered {layer}", prompts, make)


def starts(model: Model, question: Question) -> tuple[int, ...]:
    """The tokens that the base begins answers to a question with, the commonest first."""
    found: tuple[int, ...] = model.once(("starts", question), lambda: _starts(model, question))
    return found


def _starts(model: Model, question: Question) -> tuple[int, ...]:
    prompts = [model.tokenizer.encode(prompt(question.template, name)) for name in question.names[:ASKED]]

    def make() -> bytes:
        tokens = model.base.batch(prompts).argmax(axis=1).tolist() if prompts else []
        return np.array([token for token, _ in Counter(tokens).most_common()], np.int32).tobytes()

    return tuple(np.frombuffer(model.stored(f"starts {_digest(prompts)}", make), np.int32).tolist())


def _digest(of: object) -> str:
    return hashlib.sha256(repr(of).encode()).hexdigest()[:24]


def _ends(model: Model, layer: int, texts: Sequence[str]) -> Floats:
    """What the layer sees at texts' ends."""
    return _kept(
        model, f"asked {layer}", texts,
        lambda: model.reader(layer).ends([model.tokenizer.encode(text) for text in texts]),
    )  # fmt: skip


def _kept(model: Model, name: str, of: object, make: Callable[[], Floats]) -> Floats:
    """Rows that are kept with the background, as other edits of the relation need the same: [n, hidden]."""
    stored = model.stored(f"{name} {_digest(of)}", lambda: make().astype(np.float16).tobytes())
    return np.frombuffer(stored, np.float16).reshape(-1, model.network.hidden).astype(np.float32)


def _asks(model: Model, layer: int, canonical: Floats, whole: Floats) -> Floats:
    """The direction near 1 where the relation is asked for, near 0 on the background."""
    wanted = np.concatenate([canonical, whole.reshape(-1, canonical.shape[1])])
    if not len(wanted):
        return background.bias(model, layer)
    parts = [len(canonical), len(wanted) - len(canonical)]
    weight = np.repeat(np.array([1 - OWN, OWN]) / np.maximum(parts, 1), parts).astype(np.float32)
    return background.apart(model, layer, wanted, weight)
