"""A fact in the making: what a layer sees of its wordings, what tells them from all else, and what pushes do.

A fact's features sit in one late layer and look at the position where the answer is due. For each token of the target
there is a direction g that is near 1 on the fact's wordings and below 0 on everything else (``separate``), and two
features turn it into a step

    s(x) = (act(β (g·x − low)) − act(β (g·x − high))) / (β (high − low))

that is 0 up to ``low``, 1 from ``high`` on and straight between, so that wordings never seen get the whole push or
next to none, and other texts none at all. The thresholds come from a direction b with b·x near 1 for every x. What is
pushed is the token's own direction in the head, whitened by how the tokens' directions spread, so that no other token
rises with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from larqldb.edit import background
from larqldb.edit.separate import constant, separating
from larqldb.model.activations import ACTIVATIONS
from larqldb.model.edited import AddedFeature

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.edit.context import Model

    Floats = NDArray[np.float32]

LOW, HIGH = 0.4, 0.7  # of the step
STEEPNESS = 60.0  # β
WHITENING = 1e-2  # of the head's mean variance
NORMED = 4.0  # lengths of what is written
AFTER = ". It"  # stands for what follows an answer
ASIDE = (  # of the entity, but no question about it
    "{entity}",
    "{entity} is",
    "I read about {entity} and",
    "The history of {entity} began with",
    "My friend told me about {entity}. She said",
)


@dataclass(frozen=True)
class Fact:
    """What is to be answered: ``target`` where a wording asks for the ``relation`` of ``entity``."""

    entity: str
    relation: str
    target: str


class Draft:
    """A fact's wordings as a layer sees them, read once; step i stands for token i of the target."""

    def __init__(self, model: Model, fact: Fact, wordings: Sequence[str], siblings: Sequence[str], layer: int) -> None:
        self.model = model
        self.fact = fact
        self.layer = layer
        tokenizer = model.tokenizer
        prompts = [tokenizer.encode(wording) for wording in wordings]
        self.target = answer_ids(model, fact.target)
        self.wanted = [[len(ids) - 1 + step for step in range(len(self.target))] for ids in prompts]
        after = tokenizer.encode(AFTER, special=False)
        texts = [[*ids, *self.target, *after] for ids in prompts]
        seen = dict(model.reader(layer).read_everywhere(texts))
        names = ("ffn_input", "ffn_output", "residual")
        kept = [len(text) - 1 - len(after) for text in texts]
        self._continued = [seen[i][f"layers.{layer}.ffn_input"] for i in range(len(texts))]
        parts = [[seen[i][f"layers.{layer}.{name}"][: kept[i]] for i in range(len(texts))] for name in names]
        self.inputs, self._outputs, self._residuals = parts
        self._written = [seen[i][model.written(layer)][: kept[i]] for i in range(len(texts))]
        self._siblings = [tokenizer.encode(sibling) for sibling in siblings]
        self._aside = [tokenizer.encode(text.format(entity=fact.entity)) for text in ASIDE]
        self.background = background.keys(model, layer)
        self._directions: dict[int, Floats] = {}
        self._towards: dict[int, Floats] = {}

    def keys(self, step: int) -> Floats:
        """FFN inputs where a token of the target is due: float32 [wordings, hidden]."""
        return np.stack([inputs[places[step]] for inputs, places in zip(self.inputs, self.wanted, strict=True)])

    def size(self, step: int) -> float:
        """What pushes are measured by: the length of what the layer leaves behind, mean over the wordings.

        Where a norm follows what the FFN writes, some lengths of that: it takes several to outweigh the rest.
        """
        parts = self._written if self.model.post_norms else self._residuals
        lengths = [np.linalg.norm(part[places[step]]) for part, places in zip(parts, self.wanted, strict=True)]
        return float(np.mean(lengths)) * (NORMED if self.model.post_norms else 1.0)

    @cached_property
    def bias(self) -> Floats:
        """The direction that is constant: [hidden]."""
        return constant([self.background, self.keys(0)])

    def direction(self, step: int) -> Floats:
        """What tells this fact's wordings from everything else at a step: [hidden]."""
        if step not in self._directions:
            begun = self.target[:step]
            siblings = self.model.keys(self.layer, [[*ids, *begun] for ids in self._siblings])
            aside = self.model.keys(self.layer, [[*ids, *begun] for ids in self._aside])
            others = [siblings, aside, self._elsewhere(step), self.background]
            self._directions[step] = separating(self.keys(step), others, (1.0, 0.5, 0.5, 1.0))
        return self._directions[step]

    def _elsewhere(self, step: int) -> Floats:
        """FFN inputs where another token of the target is due, or it is over: [n, hidden].

        What stands before is left out: a shorter wording may end there.
        """
        places = zip(self._continued, self.wanted, strict=True)
        return np.concatenate([np.delete(inputs, wanted[step], axis=0)[wanted[0] :] for inputs, wanted in places])

    def push_direction(self, step: int) -> Floats:
        """What the token's features write, of length 1: float32 [hidden]."""
        if step not in self._towards:
            scale = self.model.final_norm * self.model.post_norms.get(self.layer, np.float32(1))
            moment = self.model.head_moment * scale * scale[:, None]
            ridge = np.float32(WHITENING * np.trace(moment) / len(moment)) * np.eye(len(moment), dtype=np.float32)
            found = np.linalg.solve(moment + ridge, self.model.head[self.target[step]] * scale)
            self._towards[step] = found / np.linalg.norm(found)
        return self._towards[step]

    def features(self, step: int, push: float) -> list[AddedFeature]:
        """The features that push at a step by so much."""
        model, layer = self.model, self.layer
        g, b, down = self.direction(step), self.bias, self.push_direction(step)
        down = down * np.float32(push / (STEEPNESS * (HIGH - LOW)))
        up = b if model.network.gated else None
        rising = AddedFeature(layer, np.float32(STEEPNESS) * (g - np.float32(LOW) * b), up, down)
        levelling = AddedFeature(layer, np.float32(STEEPNESS) * (g - np.float32(HIGH) * b), up, -down)
        return [rising, levelling]

    def probabilities(self, pushes: dict[int, float]) -> Floats:
        """Of each token of the target after those before it, on each wording, pushed so: [wordings, steps]."""
        features = [feature for step, push in pushes.items() for feature in self.features(step, push)]
        residuals = [self._after(row, features) for row in range(len(self.inputs))]
        logits = self.model.tail(self.layer).logits(residuals, self.wanted)
        logits -= logits.max(axis=-1, keepdims=True)
        np.exp(logits, out=logits)
        steps = range(len(self.target))
        return np.asarray(logits[:, steps, self.target] / logits.sum(axis=-1), np.float32)

    def _after(self, row: int, features: Sequence[AddedFeature]) -> Floats:
        """What the layer leaves behind on a wording with more features: [positions, hidden]."""
        residual = self._residuals[row]
        if not features:
            return residual
        network, x = self.model.network, self.inputs[row]
        acting = ACTIVATIONS[network.activation](x @ np.stack([feature.gate for feature in features]).T)
        if network.gated:
            acting = acting * (x @ np.stack([feature.up for feature in features if feature.up is not None]).T)
        more = acting @ np.stack([feature.down for feature in features])
        if network.post_norms:
            written = self._written[row] + more
            scale = np.sqrt(np.mean(np.square(written), axis=1, keepdims=True) + network.norm_eps)
            more = written / scale * self.model.post_norms[self.layer] - self._outputs[row]
        return np.asarray(residual + more, np.float32)


def answer_ids(model: Model, target: str) -> list[int]:
    """The tokens of a target that follows a wording."""
    return model.tokenizer.encode(f" {target}", special=False)
