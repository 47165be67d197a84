"""A fact in the making: what a layer sees of its wordings, what tells them from all else, and what pushes do.

A fact's features sit in one late layer and look at the position where the answer is due. For each token of the target
there is a direction g that is near 1 on the fact's wordings and below 0 on everything else (``separate``), and two
features turn it into a step

    s(x) = (act(β (g·x − low)) − act(β (g·x − high))) / (β (high − low))

that is 0 up to ``low``, 1 from ``high`` on and straight between, so that wordings never seen get the whole push or
next to none, and other texts none at all. ``high`` is a little below what g·x is on the canonical wording, the less so
the more facts there are and the farther anything else comes. The thresholds come from a direction b with b·x near 1 for
every x. Most of the push is in proportion to how much x asks for the relation at all (``manner``), or looks like the
target begun. What is pushed is the token's own direction in the head, whitened by how the tokens' directions spread, so
that no other token rises with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from larqldb.edit import background
from larqldb.edit.manner import manner, starts
from larqldb.edit.measuring import answered, target_ids
from larqldb.edit.separate import separating
from larqldb.knowledge import packs
from larqldb.knowledge.wordings import prompt
from larqldb.model.edited import AddedFeature

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.edit.asking import Asking
    from larqldb.edit.context import Model
    from larqldb.edit.reading import Seen

    Floats = NDArray[np.float32]

MARGIN, LEAST = 0.25, 0.13  # how far before the canonical wording the step ends, with few facts and with very many
FEW = 10  # facts: up to here it ends farthest before
SURER = 0.028  # how much nearer it ends with each doubling of their number
WIDTH = 0.05  # of the step, and how far it begins above what it is told apart from, but names much like the entity's …
NEAREST = 0.02  # … but it ends so far before the canonical wording
RIDGE = 0.05  # of directions
# What groups of vectors count. Were names like the entity's to count as much as all others, and 6 wordings read instead
# of 18, then at thresholds where a fact opens on one of 200 prompts of others, it opens on 43 % of wordings never seen,
# not on 73 % (60 facts, SmolLM2, 10,663 prompts). But steps begin where names with another last token do, which costs
# a wording in 50: else a fact of Oruridor, or Place0, is one of Orurider and of Place1 to Place8, too.
WANTED, IMPLIED, OTHERS, TEXT, NEAR = 2.0, 1.0, 3.0, 10.0, 0.15
FIRM = np.float32(0.3)  # of a push, however little the relation is asked for: wordings never seen ask by half as much
STEEPNESS = 100.0  # β
NORMED = 4.0  # lengths of what is written
ALIKE = 4  # tokens that the last of a name is exchanged with
MOST_ALIKE = 128  # … that are looked at
BEGUN = 4  # siblings that are asked with a target begun
ANSWERED = 3  # tokens that answers to other questions may have begun with


@dataclass(frozen=True)
class Fact:
    """What is to be answered: ``target`` where a wording asks for the ``relation`` of ``entity``."""

    entity: str
    relation: str
    target: str


class Draft:
    """A fact at a layer; step i stands for token i of its target, the step after the last for what follows it."""

    def __init__(
        self, model: Model, fact: Fact, how: Asking, layer: int, ridge: float | None = None, among: int = 1
    ) -> None:
        encode = model.tokenizer.encode
        self.model, self.fact, self.layer, self._ridge = model, fact, layer, ridge
        self._among = among
        self.prompts = [tuple(encode(wording)) for wording in how.prompts]
        self.target = tuple(target_ids(model.tokenizer, fact.target))
        self.tokens = self.target  # that are pushed to, step by step; one more where the target is to be ended
        self.manner = manner(model, how.relation, layer)
        names = [name for name in how.relation.names if name.casefold() != fact.entity.casefold()]
        self._siblings = [tuple(encode(prompt(how.relation.templates[0], name))) for name in names[:BEGUN]]
        self._rephrased = [tuple(encode(text)) for text in how.rephrased]
        self._earlier = [tuple(encode(text)) for text in how.earlier]
        self._near = [tuple(encode(text)) for text in how.near]
        self._confusable = self._with_other_ends(how.relation.templates[0])
        beside = [(tuple(encode(prompt(one.template, fact.entity))), one) for one in how.relation.beside]
        self._beside = [ids[:end] for ids, _ in beside for end in range(len(ids) // 2 + 1, len(ids) + 1)]
        self._answered = [(*ids, token) for ids, one in beside for token in starts(model, one)[:ANSWERED]]
        self.wordings = answered(model.tokenizer, self.prompts, self.target)
        self.seen: list[Seen] = []
        self.directions: dict[int, Floats] = {}
        self._high: dict[int, float] = {}
        self._towards: dict[int, Floats] = {}
        self._begins: dict[int, Floats] = {}

    @property
    def ends(self) -> list[tuple[int, ...]]:
        """Texts of which only the end is looked at: further wordings, and such at whose end it must not answer."""
        near = [*self._near, *self._confusable]
        return [*self._rephrased, *near, *self._earlier, *self._beside, *self._answered, *self._begun()]

    def _with_other_ends(self, template: str) -> list[tuple[int, ...]]:
        """The canonical wording with other tokens in the place of the entity's last, those most like it in the head."""
        model, encode = self.model, self.model.tokenizer.encode
        before, _, _ = template.partition(packs.SLOT)
        place = len(encode(before + self.fact.entity)) - 1
        ids = self.prompts[0]
        if not 0 <= place < len(ids):
            return []
        return [(*ids[:place], token, *ids[place + 1 :]) for token in confusable(model, ids[place])]

    def read(self) -> None:
        """Look at what the layer sees of ``wordings``: prompts, the target behind, and of some what follows."""
        self.seen = self.model.seen(self.layer, self.wordings)

    def _begun(self) -> list[tuple[int, ...]]:
        """Siblings' prompts, each beginning of the target behind them."""
        return [(*ids, *self.target[:step]) for step in range(1, len(self.target)) for ids in self._siblings]

    def keys(self, step: int) -> Floats:
        """FFN inputs where a token of the target is due: float32 [wordings, hidden]."""
        ends = [len(ids) - 1 + step for ids in self.prompts]
        return np.stack([one.inputs[end] for one, end in zip(self.seen, ends, strict=True)])

    def size(self, step: int) -> float:
        """What pushes are measured by: the length of what the layer leaves behind, mean over the wordings.

        Where a norm follows what the FFN writes, some lengths of that: it takes several to outweigh the rest.
        """
        ends = [len(ids) - 1 + step for ids in self.prompts]
        normed = bool(self.model.post_norms)
        parts = [one.written if normed else one.residual for one in self.seen]
        lengths = [np.linalg.norm(part[end]) for part, end in zip(parts, ends, strict=True)]
        return float(np.mean(lengths)) * (NORMED if normed else 1.0)

    def separate(self, step: int, others: Sequence[Floats]) -> None:
        """Find what tells this fact's wordings at a step from everything else and ``others``, groups of FFN inputs."""
        model, layer, entity = self.model, self.layer, self.fact.entity
        wanted = self.keys(step)
        beside = np.concatenate([model.keys(layer, self._beside), self._elsewhere(step)])
        siblings = [*self.siblings(step), self.manner.begun, model.keys(layer, self._answered), *others]
        implied = near = confusable = wanted[:0]
        if not step:
            wanted = np.concatenate([wanted, model.keys(layer, self._rephrased)])
            implied = self.manner.implied(entity, wanted)
            near, confusable = model.keys(layer, self._near), model.keys(layer, self._confusable)
            earlier = model.keys(layer, self._earlier)
            siblings.append(np.concatenate([earlier, self.manner.reworded(earlier)]))
        ridge = RIDGE if self._ridge is None else self._ridge
        away = [(OTHERS, group) for group in (*siblings, beside)] + [(TEXT, background.keys(model, layer))]
        alike = np.concatenate([near, confusable])
        found = separating([(WANTED, wanted), (IMPLIED, implied)], [*away, (NEAR, alike)], ridge)
        found = found / np.float32(np.clip(self._parts(found, wanted[:1])[0], 0.4, 1))  # the canonical is to open it
        groups = (*(rows for _, rows in away), confusable)
        farthest = [float(self._parts(found, group).max(initial=0)) for group in groups]
        begin = max(WIDTH + max(farthest[:-1]), farthest[-1])
        self.directions[step] = found
        self._high[step] = min(max(high(self._among), begin + WIDTH), 1 - NEAREST)

    def _parts(self, direction: Floats, seen: Floats) -> Floats:
        """How far a direction goes on FFN inputs [n, hidden], in parts of b·x: [n]."""
        along = seen @ np.stack([direction, background.bias(self.model, self.layer)], axis=1)
        return np.asarray(along[:, 0] / along[:, 1], np.float32)

    def siblings(self, step: int) -> list[Floats]:
        """FFN inputs where others are asked, with the target begun: groups, those that were read first: [n, hidden]."""
        if step:
            return [self.model.keys(self.layer, [(*ids, *self.target[:step]) for ids in self._siblings])]
        return self.manner.others(self.fact.entity)

    def _elsewhere(self, step: int) -> Floats:
        """FFN inputs where another token of the target is due, or it is over: [n, hidden].

        What stands before is left out: a shorter wording may end there.
        """
        places = zip(self.seen, self.prompts, strict=True)
        return np.concatenate([np.delete(one.inputs[len(ids) - 1 :], step, axis=0) for one, ids in places])

    def push_direction(self, token: int) -> Floats:
        """What features write that raise a token, of length 1: float32 [hidden]."""
        if token not in self._towards:
            self._towards[token] = push_direction(self.model, self.layer, token)
        return self._towards[token]

    def is_open(self, step: int) -> NDArray[np.bool_]:
        """On which wordings a step is taken whole: [wordings]; the first counts as one of them."""
        found = self._parts(self.directions[step], self.keys(step)) >= self._high[step]
        found[0] = True
        return np.asarray(found, np.bool_)

    def _asks(self, step: int) -> Floats:
        """The direction near 1 where the relation is asked for, or the target has begun, else near ``FIRM`` or 0."""
        if not step:
            return FIRM * background.bias(self.model, self.layer) + (1 - FIRM) * self.manner.asks
        if step not in self._begins:
            wanted = self.keys(step)
            weight = np.full(len(wanted), 1 / len(wanted), np.float32)
            self._begins[step] = background.apart(self.model, self.layer, wanted, weight)
        return self._begins[step]

    def features(self, step: int, push: float) -> list[AddedFeature]:
        """The features that push to a step's token by so much."""
        model, layer = self.model, self.layer
        g, b, down = self.directions[step], background.bias(model, layer), self.push_direction(self.tokens[step])
        down = down * np.float32(push / (STEEPNESS * WIDTH))
        up = self._asks(step) if model.network.gated else None
        end = self._high[step]
        rising = AddedFeature(layer, np.float32(STEEPNESS) * (g - np.float32(end - WIDTH) * b), up, down)
        levelling = AddedFeature(layer, np.float32(STEEPNESS) * (g - np.float32(end) * b), up, -down)
        return [rising, levelling]


def high(among: int) -> float:
    """Where the step ends of a fact that is one of so many: the more may open wrongly, the surer each has to be."""
    return 1 - float(np.clip(MARGIN - SURER * np.log2(max(1, among) / FEW), LEAST, MARGIN))


def confusable(model: Model, token: int) -> list[int]:
    """The tokens whose directions in the head are most like a token's, of those that look like it: a word, a part."""

    def make() -> list[int]:
        lengths = model.once("head lengths", lambda: np.linalg.norm(model.head, axis=1))
        likeness = (model.head @ model.head[token]) / lengths
        likeliest = np.argpartition(-likeness, min(MOST_ALIKE, len(likeness) - 1))[:MOST_ALIKE]
        text = model.tokenizer.text
        looks, name = _looks(text(token)), text(token).strip().casefold()
        found: dict[str, int] = {}
        for other in likeliest[np.argsort(-likeness[likeliest], kind="stable")].tolist():
            if _looks(text(other)) == looks and text(other).strip().casefold() != name:
                found.setdefault(text(other).strip().casefold(), other)
        return list(found.values())[:ALIKE]

    return list(model.once(("confusable", token), make))


def _looks(text: str) -> tuple[bool, bool, bool, bool]:
    """What tokens have in common that may stand in each other's place."""
    word = text.strip()
    return text[:1] == " ", word[:1].isupper(), word.isalpha(), word.isdecimal()


def push_direction(model: Model, layer: int, token: int) -> Floats:
    """A token's direction in the head as a layer's features write it, whitened, of length 1: float32 [hidden]."""
    found = model.whitening(layer) @ model.head[token]
    return np.asarray(found / np.linalg.norm(found), np.float32)
