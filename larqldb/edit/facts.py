"""What the parts of an edit hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from larqldb.functions.session import Session
    from larqldb.model.edited import AddedFeature, Edits
    from larqldb.model.network import Network
    from larqldb.model.runner import Runner
    from larqldb.model.tokenizer import Tokenizer


@dataclass(frozen=True)
class Fact:
    """An entity, a relation and what it points to."""

    entity: str
    relation: str
    target: str


@dataclass(frozen=True, eq=False)
class Composed:
    """Features that make, or unmake, a fact; probabilities are the whole target's on the first wording.

    ``note`` says what the user should know of how it went, in a sentence; None for nothing.
    """

    features: tuple[AddedFeature, ...]
    probability_before: float
    probability_after: float
    note: str | None = None


@dataclass(frozen=True, eq=False)
class Model:
    """The model as a connection has it right now.

    ``base`` runs the network without edits, ``edits`` are the live ones, and ``runner`` runs it with them.
    ``session`` gives norms, embeddings and the file.
    """

    session: Session
    base: Runner
    edits: Edits
    runner: Runner

    @property
    def network(self) -> Network:
        """The architecture."""
        return self.base.network

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        return self.session.tokenizer
