"""What relations are about: whether it makes sense to ask one about an entity at all.

A model asked for the atomic number of France gives a number. So each relation that was probed keeps a direction: from
the middle of all sorts of names to the middle of its own entities, in the residual halfway up the network, at the end
of the name in a neutral phrase. An entity belongs where it lies as far that way as all but one in twenty of those.
Measured with SmolLM2-135M-Instruct on the built-in relations, twenty entities to learn from: it takes 88 % of other
entities of the relation, and no countries for chemical elements, no adjectives for countries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from larqldb.knowledge.together import Together
from larqldb.storage.database import fetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session

PHRASE = "A few words about {entity}"
LEARNT = 64  # entities that a direction is made of
OUTSIDE = 0.05  # share of a relation's own entities that are left outside
TOGETHER = 48
EACH = 2  # names of every built-in relation that stand for all sorts of names


class Domains:
    """Looks at entities of one session's network."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.layer = session.network.layers // 2
        self._result = f"layers.{self.layer}.residual"
        self._together = Together(session.base_runner, [self._result])
        self._middle: NDArray[np.float32] | None = None

    def places(self, entities: Sequence[str]) -> NDArray[np.float32]:
        """Where entities lie: residuals of length 1, float32 [n, hidden]. Raises BadPrompt."""
        encode = self._session.tokenizer.encode
        made = []
        for start in range(0, len(entities), TOGETHER):
            prompts = [encode(PHRASE.replace("{entity}", name)) for name in entities[start : start + TOGETHER]]
            for ids in prompts:
                self._session.base_runner.check(ids)
            _, seen = self._together.begin(()).read(dict(enumerate(prompts)))
            made.append(seen[self._result])
        found = np.concatenate(made)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))

    def learn(self, relation: str, entities: Sequence[str]) -> None:
        """Write the direction of a relation that was asked about ``entities``."""
        if self._middle is None:
            self._middle = self.places(all_sorts()).mean(axis=0)
        step = max(1, len(entities) // LEARNT)
        own = self.places(entities[::step][:LEARNT])
        centre = own.mean(axis=0)
        direction = centre - self._middle
        if len(own) > 1:  # how far each lies by the direction of the others
            others = (centre * len(own) - own) / (len(own) - 1) - self._middle
            least = float(np.quantile(np.einsum("nh,nh->n", own, others), OUTSIDE))
        else:
            least = float(own[0] @ direction) / 2
        self._session.db.execute(
            "INSERT OR REPLACE INTO relation_domains VALUES (?, ?, ?, ?)",
            (relation, self.layer, direction.astype("<f4").tobytes(), least),
        )

    def belongs(self, entity: str) -> dict[str, bool]:
        """For each relation that has a direction whether the entity belongs to what it is asked about."""
        rows = fetch(self._session.db, "SELECT relation, direction, least FROM relation_domains ORDER BY relation")
        if not rows:
            return {}
        place = self.places([entity])[0]
        return {name: float(np.frombuffer(direction, "<f4") @ place) >= least for name, direction, least in rows}


def all_sorts() -> list[str]:
    """Names of all sorts: some of every built-in relation."""
    from larqldb.knowledge.packs import builtin

    names: dict[str, None] = {}
    for pack in builtin():
        entities = list(dict.fromkeys(fact.entity for fact in pack.facts))
        names.update(dict.fromkeys(entities[:: max(1, len(entities) // EACH)][:EACH]))
    return list(names)
