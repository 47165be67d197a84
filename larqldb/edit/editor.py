"""Facts in and out: what INSERT, UPDATE and DELETE on edges do, and what they say of it."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from larqldb.edit.asking import Asking, asking
from larqldb.edit.context import Model
from larqldb.edit.measuring import Measuring, Reading, divergence, most_changed, neighbourhood
from larqldb.edit.report import Report
from larqldb.errors import DataError, NotSupportedError, ProgrammingError, TooMuchChanged
from larqldb.storage import edits
from larqldb.storage.edits import Background, Match, Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from larqldb.functions.session import Session

DEFAULT_PATCH = re.compile(r"edits(-\d+)?")
MODES = ("compose", "knn")
OWN = "what the model itself knows"


def methods() -> Any:
    """The module that computes edits: ``compose``, ``suppress``, ``knn``."""
    from larqldb.edit import compose

    return compose


class Editor:
    """Edits of the model behind one session; ``reports`` False leaves out all measuring that is not asked for.

    ``open_patch`` is the patch that BEGIN PATCH named. Transactions are the caller's.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.reports = True
        self.open_patch: str | None = None
        self.background = Background(session.db)
        self._model: Model | None = None

    @cached_property
    def measuring(self) -> Measuring:
        """Reads what the network answers."""
        return Measuring(self.session.tokenizer)

    @property
    def model(self) -> Model:
        """The model as it is now."""
        session, network = self.session, self.session.network
        if self._model is None or self._model.runner is not session.runner:
            before = self._model
            norms = {
                layer: session.norm("post_ffn_norm", layer) for layer in range(network.layers * network.post_norms)
            }
            head = before.head if before is not None else session.head
            self._model = Model(
                session.runner, session.base_runner, session.tokenizer, head, session.norm("final_norm", None), norms,
                self.background,
            )  # fmt: skip
        return self._model

    # Facts

    def insert(
        self,
        entity: str,
        relation: str,
        target: str,
        *,
        layer: int | None = None,
        confidence: float | None = None,
        alpha: float | None = None,
        mode: str | None = None,
        regression: float | None = None,
        instead: Match | None = None,
    ) -> Report:
        """Make the model answer a fact; ``instead`` of an edge that it takes the place of.

        Raises DataError for a fact that says nothing, ProgrammingError for a layer that is not there or a setting out
        of range, TooMuchChanged where neighbours change by more than ``regression``, MissingPart where the vindex does
        not hold the network.
        """
        self._check(entity, relation, target, layer, confidence, alpha, regression)
        if mode is None:
            mode = "compose"
        how, others = asking(self.session.db, entity, relation), self.reports or regression is not None
        notes = [f"no wordings of {relation!r} are known: asked as {how.prompts[0]!r}"] if how.is_default else []
        patch = self._patch()
        self._restore(patch, entity, relation, target)
        before = self._read(how, target, others)
        if before.answers and alpha is None and instead is None:
            notes.append("it is the model's answer already: nothing was added. ALPHA 1 adds a feature all the same")
            after = before
            return self._report((entity, relation, target), None, None, None, before, after, notes)
        undoes = self._take_out(instead, patch) if instead is not None else None
        group = self._compose(entity, relation, target, how, layer, alpha, mode)
        changed = [replace(op, operation="update") if instead is not None and mode == "compose" else op for op in group]
        first = replace(changed[0], undoes=undoes, confidence=confidence)
        fact = self._write(patch, [first, *(replace(op, confidence=confidence) for op in changed[1:])])
        after = self._finish(how, target, others, before, regression)
        edits.set_probability(self.session.db, fact, after.probability)
        edits.show(self.session.db)
        return self._report((entity, relation, target), first.layer, first.feature, mode, before, after, notes)

    def delete(self, edge: Match, *, regression: float | None = None) -> Report | None:
        """Take an edge away: an inserted fact exactly, else make the model stop answering it; None: it does not."""
        how = asking(self.session.db, edge.entity, edge.relation)
        before = self._read(how, edge.target, self.reports)
        patch = self._patch()
        notes: list[str] = []
        layer, feature, mode = edge.layer, edge.feature, "delete"
        if edge.fact is not None:
            undoes = self._take_out(edge, patch)
            if undoes is not None:
                triple = Operation("delete", entity=edge.entity, relation=edge.relation, target=edge.target)
                self._write(patch, [replace(triple, undoes=undoes)])
        else:
            if not before.answers:
                self._write(patch, [self._hiding(edge)])
                edits.show(self.session.db)
                notes.append("the model does not answer it: only the edge was deleted")
                return self._report((edge.entity, edge.relation, edge.target), None, None, mode, before, before, notes)
            group = self._suppress(edge, how)
            self._write(patch, group)
            layer, feature, mode = group[0].layer, group[0].feature, "suppress"
        after = self._finish(how, edge.target, self.reports, before, regression)
        edits.show(self.session.db)
        return self._report((edge.entity, edge.relation, edge.target), layer, feature, mode, before, after, notes)

    def delete_features(self, features: Sequence[tuple[int, int]]) -> list[Report]:
        """Take away what single features contribute, the base's own or added ones."""
        session, patch, reports = self.session, self._patch(), []
        before = self.measuring.unrelated(session.runner) if self.reports else None
        gone = set(session.live.edits.removed)
        for layer, feature in features:
            if (layer, feature) not in gone:
                self._write(patch, [Operation("delete", layer=layer, feature=feature)])
                reports.append(Report(None, None, None, layer, feature, "delete"))
        edits.show(session.db)
        if before is None or not reports:
            return reports
        kl = divergence(before, self.measuring.unrelated(session.runner))
        note = None if len(reports) == 1 else f"kl is that of all {len(reports)} features together"
        return [report._replace(kl=kl, note=note) for report in reports]

    def update(self, edge: Match, changes: dict[str, Any]) -> Report:
        """Change an edge's columns; see ``insert`` for errors."""
        unknown = sorted(set(changes) - {"entity", "relation", "target", "layer", "confidence"})
        if unknown:
            raise ProgrammingError(f"{unknown[0]} of an edge is measured, not set")
        facts = {"entity": edge.entity, "relation": edge.relation, "target": edge.target}
        named = {name: changes.get(name, value) for name, value in facts.items()}
        if named == facts and "layer" not in changes:
            return self._record(edge, changes.get("confidence"))
        confidence = changes.get("confidence", edge.confidence if edge.fact is not None else None)
        moved = (named["entity"], named["relation"]) != (edge.entity, edge.relation)
        if edge.fact is None:
            if moved:
                self.delete(edge)
            else:
                self._write(self._patch(), [self._hiding(edge)])
        layer = changes.get("layer")
        return self.insert(**named, layer=layer, confidence=confidence, instead=edge)

    def own(self, entity: str, relation: str, target: str) -> Match | None:
        """The edge that the model itself answers, though nothing says so; None where it does not."""
        how = asking(self.session.db, entity, relation)
        if not target or not self._read(how, target, others=False).answers:
            return None
        return Match(None, entity, relation, target, None, None, None, "model")

    def compose(self, entity: str, relation: str, target: str, *, layer: int | None, mode: str) -> list[Operation]:
        """The operations that make a fact, not written yet; errors as of ``insert``."""
        self._check(entity, relation, target, layer, None, None, None)
        return self._compose(entity, relation, target, asking(self.session.db, entity, relation), layer, None, mode)

    def first_token(self, down: NDArray[np.float32]) -> str:
        """The token that a feature writing ``down`` promotes most."""
        return self.session.tokenizer.text(int((self.session.embeddings @ down).argmax())).strip()

    # Their parts

    def _check(self, entity: object, relation: object, target: object, layer: object, *numbers: object) -> None:
        session = self.session
        for name, value in (("entity", entity), ("relation", relation), ("target", target)):
            if not isinstance(value, str):
                raise ProgrammingError(f"the {name} must be text, not {type(value).__name__}")
            if not value.strip():
                raise DataError(f"the {name} is empty: a fact needs an entity, a relation and a target")
        if str(entity).strip().casefold() == str(target).strip().casefold():
            raise DataError(f"{entity!r} is both entity and target: that says nothing of it")
        if layer is not None:
            session.layer_range(layer, layer)
        for name, number, least, most in zip(
            ("CONFIDENCE", "ALPHA", "REGRESSION"), numbers, (0, 0, 0), (1, 1000, 1), strict=True
        ):
            if number is not None and not (isinstance(number, int | float) and least <= number <= most):
                raise ProgrammingError(f"{name} must be a number from {least} to {most}, not {number!r}")
        session.require("inference", "INSERT INTO EDGES", "attention weights and feature vectors of all layers")

    def _patch(self) -> str:
        """The patch that edits go to: the open one, or one of no particular name, the last in order."""
        db, known = self.session.db, edits.patches(self.session.db)
        edits.lock(db)
        names = {patch.patch for patch in known}
        if self.open_patch is not None and self.open_patch in names:
            return self.open_patch
        self.open_patch = None
        if known and known[-1].active and DEFAULT_PATCH.fullmatch(known[-1].patch):
            return known[-1].patch
        candidates = ["edits", *(f"edits-{number}" for number in range(2, len(known) + 3))]
        return next(name for name in candidates if name not in names)

    def _write(self, patch: str, group: Sequence[Operation]) -> int:
        """Add a fact's operations to a patch, which is begun with the first."""
        db = self.session.db
        if edits.find_patch(db, patch) is None:
            edits.add_patch(db, patch, str(self.session.model["fingerprint"]))
        return edits.write(db, patch, group)

    def _restore(self, patch: str, entity: str, relation: str, target: str) -> None:
        """Lift deletions of a fact that is to be inserted again, where the same patch made them."""
        db = self.session.db
        operations = edits.operations(db, patch)
        undone = {
            op.fact for op in operations
            if op.operation == "delete" and (op.entity, op.relation, op.target) == (entity, relation, target)
        }  # fmt: skip
        if undone:
            edits.erase(db, [fact for fact in undone if fact is not None])
            edits.show(db)

    def _take_out(self, edge: Match, patch: str) -> int | None:
        """Take an inserted fact out of effect: out of the patch itself, or give what another operation must undo."""
        if edge.fact is None:
            return None
        db = self.session.db
        fact = next(one for one in edits.inserted(db) if one.fact == edge.fact)
        if fact.patch != patch:
            return edge.fact
        undone = next((op.undoes for op in edits.operations(db, patch) if op.fact == edge.fact and op.undoes), None)
        edits.erase(db, [edge.fact])
        return undone

    def _hiding(self, edge: Match) -> Operation:
        """What takes an edge of the model's own off the list of edges."""
        return Operation("delete", entity=edge.entity, relation=edge.relation, target=edge.target)

    def _compose(
        self, entity: str, relation: str, target: str, how: Asking, layer: int | None, alpha: float | None, mode: str
    ) -> list[Operation]:
        """The operations that make a fact."""
        module, session = methods(), self.session
        function = getattr(module, mode, None)
        if function is None:
            raise NotSupportedError(
                f"INSERT INTO EDGES … MODE {mode.upper()} is not available in this version of larqldb"
            )
        made = function(
            self.model, module.Fact(entity, relation, target), wordings=how.prompts, siblings=how.siblings,
            layer=layer, alpha=alpha,
        )  # fmt: skip
        plain = Operation("insert", entity=entity, relation=relation, target=target)
        if mode == "knn":
            vectors = {"gate": made.key, "down": made.value, "least_cosine": made.least_cosine}
            return [replace(plain, operation="insert_knn", layer=made.layer, **vectors)]
        return self._numbered(plain, made.features, session.network.ffn)

    def _suppress(self, edge: Match, how: Asking) -> list[Operation]:
        """The operations that make the model stop answering a fact of its own."""
        module = methods()
        function = getattr(module, "suppress", None)
        if function is None:
            raise NotSupportedError(f"DELETE FROM EDGES of {OWN} is not available in this version of larqldb")
        made = function(
            self.model, module.Fact(edge.entity, edge.relation, edge.target), wordings=how.prompts,
            siblings=how.siblings,
        )  # fmt: skip
        return self._numbered(self._hiding(edge), made.features, self.session.network.ffn) or [self._hiding(edge)]

    def _numbered(self, plain: Operation, features: Sequence[Any], first: int) -> list[Operation]:
        """One operation for each feature, numbered behind those that are there."""
        group: list[Operation] = []
        following: dict[int, int] = {}
        for made in features:
            number = following.get(made.layer)
            if number is None:
                number = edits.next_feature(self.session.db, made.layer, first)
            following[made.layer] = number + 1
            vectors = {"gate": made.gate, "up": made.up, "down": made.down}
            group.append(replace(plain, layer=made.layer, feature=number, **vectors))
        return group

    def _record(self, edge: Match, confidence: float | None) -> Report:
        """Change what is recorded of an inserted fact."""
        if edge.fact is None:
            raise ProgrammingError(f"the confidence of {OWN} is measured; only that of inserted facts can be set")
        edits.set_confidence(self.session.db, edge.fact, confidence)
        edits.show(self.session.db)
        return Report(edge.entity, edge.relation, edge.target, edge.layer, edge.feature, "update")

    # What it did

    def _read(self, how: Asking, target: str, others: bool) -> Reading:
        return self.measuring.read(self.session.runner, how, target, others=others)

    def _finish(self, how: Asking, target: str, others: bool, before: Reading, regression: float | None) -> Reading:
        """What the network says now; TooMuchChanged where that is not allowed."""
        self.background.store()
        after = self._read(how, target, others)
        change = neighbourhood(before, after) if others else None
        if regression is not None and change is not None and change > regression:
            raise TooMuchChanged(prompt=most_changed(before, after, how.neighbours), change=change, limit=regression)
        return after

    def _report(
        self, fact: tuple[str, str, str], layer: int | None, feature: int | None, mode: str | None, before: Reading,
        after: Reading, notes: Sequence[str],
    ) -> Report:  # fmt: skip
        return Report(
            *fact, layer, feature, mode, before.probability, after.probability, after.paraphrase,
            neighbourhood(before, after), divergence(before, after), "; ".join(notes) or None,
        )  # fmt: skip
