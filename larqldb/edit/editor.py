"""Facts in and out: what INSERT, UPDATE and DELETE on edges do, and what they say of it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.edit import compose
from larqldb.edit.asking import Asking, Askings
from larqldb.edit.context import Model
from larqldb.edit.draft import Fact
from larqldb.edit.effects import Effects
from larqldb.edit.measuring import Reading, divergence, most_changed, neighbourhood
from larqldb.edit.report import Report
from larqldb.errors import DataError, ProgrammingError, TooMuchChanged
from larqldb.functions.inference import generation
from larqldb.knowledge.answers import finished, normalised
from larqldb.knowledge.wordings import LONGEST
from larqldb.storage import edits
from larqldb.storage.edits import Background, Match, Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from larqldb.functions.session import Session
    from larqldb.model.edited import AddedFeature

DEFAULT_PATCH = re.compile(r"edits(-\d+)?")
MODES = ("compose", "knn")
OWN = "what the model itself knows"


NOTHING = Reading(np.empty((1, 0), np.float32), np.empty(0, np.bool_))  # was read yet


@dataclass(eq=False)
class _Fact:
    """A fact that is being inserted: how it is asked for, what is said before and after, and what was written for it.

    ``against`` is another target that was inserted before and stays in effect.
    """

    entity: str
    relation: str
    target: str
    how: Asking
    before: Reading = NOTHING
    after: Reading = NOTHING
    first: Operation | None = None
    number: int = 0
    against: str | None = None

    @property
    def triple(self) -> tuple[str, str, str]:
        return self.entity, self.relation, self.target

    @property
    def asked(self) -> tuple[Asking, str]:
        return self.how, self.target


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
    def effects(self) -> Effects:
        """Reads what the network answers."""
        return Effects(self.session.tokenizer)

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
                self.background, session.live.edits,
            )  # fmt: skip
        return self._model

    # Facts

    def insert(
        self, entity: str, relation: str, target: str, *, instead: Match | None = None, **clauses: Any
    ) -> Report:
        """Make the model answer a fact; ``instead`` of an edge that it takes the place of. See ``insert_all``."""
        return self.insert_all([(entity, relation, target)], instead=instead, **clauses)[0]

    def insert_all(
        self,
        facts: Sequence[tuple[str, str, str]],
        *,
        layer: int | None = None,
        confidence: float | None = None,
        alpha: float | None = None,
        mode: str | None = None,
        regression: float | None = None,
        instead: Match | None = None,
    ) -> list[Report]:
        """Make the model answer facts, each (entity, relation, target): all together, told apart from each other.

        A fact given twice for an entity and a relation counts as it comes last. Raises DataError for a fact that says
        nothing, ProgrammingError for a layer that is not there or a setting out of range, TooMuchChanged where
        neighbours change by more than ``regression``, MissingPart where the vindex does not hold the network.
        """
        for triple in facts:
            self._check(*triple, layer, confidence, alpha, regression)
        if not facts:
            return []
        mode, others = mode or "compose", self.reports or regression is not None
        patch, askings = self._patch(), Askings(self.session.db)
        known: dict[tuple[str, str], _Fact] = {}
        for entity, relation, target in facts:
            self._restore(patch, entity, relation, target)
            known[entity, relation] = _Fact(entity, relation, target, askings.of(entity, relation))
        todo = list(known.values())
        for one in edits.inserted(self.session.db):
            fact = known.get((one.entity, one.relation))
            if fact is not None and one.target != fact.target and (instead is None or instead.fact != one.fact):
                fact.against = one.target
        for fact, before in zip(todo, self._read([fact.asked for fact in todo], others, layer), strict=True):
            fact.before = before
        needed = [fact for fact in todo if alpha is not None or instead is not None or not fact.before.answers]
        undoes = self._take_out(instead, patch) if instead is not None else None
        for fact, group in zip(needed, self._compose(needed, layer, alpha, mode), strict=True):
            if instead is not None and mode == "compose":
                group = [replace(op, operation="update") for op in group]
            group = [replace(op, confidence=confidence) for op in group]
            fact.first = replace(group[0], undoes=undoes)
            fact.number = self._write(patch, [fact.first, *group[1:]])
        self.background.store()
        made = [fact for fact in todo if fact.first is not None]
        after = self._finish([fact.asked for fact in made], [fact.before for fact in made], others, regression, layer)
        for fact, reading in zip(made, after, strict=True):
            fact.after = reading
        reports = [self._inserted(fact, mode) for fact in todo]
        edits.show(self.session.db)
        found = {(fact.entity, fact.relation): report for fact, report in zip(todo, reports, strict=True)}
        return [found[entity, relation] for entity, relation, _ in facts]

    def _inserted(self, fact: _Fact, mode: str) -> Report:
        """What became of a fact that was to be inserted."""
        asked = fact.how.prompts[0]
        notes = [f"no wordings of {fact.relation!r} are known: asked as {asked!r}"] if fact.how.is_default else []
        if fact.against is not None:
            notes.append(f"{fact.against} was inserted for it before and stays in effect: DELETE that, or UPDATE it")
        if fact.first is None:
            notes.append("it is the model's answer already: nothing was added. ALPHA 1 adds a feature all the same")
            return self._report(fact.triple, None, None, None, fact.before, fact.before, notes)
        edits.set_probability(self.session.db, fact.number, fact.after.probability)
        if not fact.after.answers:
            notes.append("the model does not answer it all the same: DELETE takes it out again; another layer may do")
        return self._report(fact.triple, fact.first.layer, fact.first.feature, mode, fact.before, fact.after, notes)

    def delete(self, edge: Match, *, regression: float | None = None) -> Report | None:
        """Take an edge away: an inserted fact exactly, else make the model stop answering it; None: it does not."""
        how = self._how(edge.entity, edge.relation)
        (before,) = self._read([(how, edge.target)], self.reports)
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
        (after,) = self._finish([(how, edge.target)], [before], self.reports, regression)
        if after.answers:
            notes.append("the model answers it all the same")
        edits.show(self.session.db)
        return self._report((edge.entity, edge.relation, edge.target), layer, feature, mode, before, after, notes)

    def delete_features(self, features: Sequence[tuple[int, int]]) -> list[Report]:
        """Take away what single features contribute, the base's own or added ones."""
        session, patch, reports = self.session, self._patch(), []
        first = min((layer for layer, _ in features), default=0)
        before = self.effects.unrelated(self.model, first) if self.reports else None
        gone = set(session.live.edits.removed)
        for layer, feature in features:
            if (layer, feature) not in gone:
                self._write(patch, [Operation("delete", layer=layer, feature=feature)])
                reports.append(Report(None, None, None, layer, feature, "delete"))
        edits.show(session.db)
        if before is None or not reports:
            return reports
        kl = divergence(before, self.effects.unrelated(self.model, first))
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

    def own(self, entity: str, relation: str, target: str | None = None) -> Match | None:
        """The edge that the model itself answers, though nothing says so; None where it does not.

        Without a target it is what the model says in the relation's first wording, where the relation has wordings.
        """
        how = self._how(entity, relation)
        if target is None and not how.is_default:
            said = "".join(generation(self.session, how.prompts[0], max_tokens=LONGEST))
            target = finished(said) or normalised(said)
        if not target or not self._read([(how, target)])[0].answers:
            return None
        return Match(None, entity, relation, target, None, None, None, "model")

    def compose(
        self, facts: Sequence[tuple[str, str, str]], *, layer: int | None, mode: str, ridge: float | None = None
    ) -> list[list[Operation]]:
        """The operations that make facts, together, not written yet; errors as of ``insert_all``."""
        for fact in facts:
            self._check(*fact, layer, None, None, None)
        askings = Askings(self.session.db)
        asked = [_Fact(*fact, askings.of(fact[0], fact[1])) for fact in facts]
        return self._compose(asked, layer, None, mode, ridge)

    def probability(self, entity: str, relation: str, target: str, layer: int | None = None) -> float:
        """Of the whole target in the first wording, as the network is now."""
        return self._read([(self._how(entity, relation), target)], layer=layer)[0].probability

    def first_token(self, down: NDArray[np.float32]) -> str:
        """The token that a feature writing ``down`` promotes most."""
        return self.session.tokenizer.text(int((self.session.embeddings @ down).argmax())).strip()

    # Their parts

    def _check(self, entity: object, relation: object, target: object, layer: object, *numbers: object) -> None:
        session = self.session
        for name, value in (("entity", entity), ("relation", relation), ("target", target)):
            if not isinstance(value, str):
                raise ProgrammingError(f"the {name} must be text, not {type(value).__name__}")
            kinds = {unicodedata.category(character) for character in value}
            if all(kind[0] in "CZ" for kind in kinds):
                raise DataError(f"the {name} is empty: a fact needs an entity, a relation and a target")
            if "Cc" in kinds:
                raise DataError(f"the {name} {value!r} holds a control character: leave it out")
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

    def _how(self, entity: str, relation: str) -> Asking:
        return Askings(self.session.db).of(entity, relation)

    def _compose(
        self, facts: Sequence[_Fact], layer: int | None, alpha: float | None, mode: str, ridge: float | None = None
    ) -> list[list[Operation]]:
        """The operations that make facts, for each of them."""
        if not facts:
            return []
        inserted = {(fact.entity, fact.relation, fact.target) for fact in edits.inserted(self.session.db)}
        among = len(inserted | {fact.triple for fact in facts})
        tasks = [compose.Task(Fact(*fact.triple), fact.how, layer, alpha, ridge, among) for fact in facts]
        plain = [Operation("insert", entity=fact.entity, relation=fact.relation, target=fact.target) for fact in facts]
        if mode == "knn":
            return [
                [replace(each, operation="insert_knn", layer=row.layer, gate=row.key, down=row.value,
                         least_cosine=row.least_cosine) for row in rows]
                for each, rows in zip(plain, compose.knn(self.model, tasks), strict=True)
            ]  # fmt: skip
        following: dict[int, int] = {}
        return [
            self._numbered(each, made, following)
            for each, made in zip(plain, compose.compose(self.model, tasks), strict=True)
        ]

    def _suppress(self, edge: Match, how: Asking) -> list[Operation]:
        """The operations that make the model stop answering a fact of its own."""
        task = compose.Task(Fact(edge.entity, edge.relation, edge.target), how)
        (made,) = compose.suppress(self.model, [task])
        return self._numbered(self._hiding(edge), made, {})

    def _numbered(
        self, plain: Operation, features: Sequence[AddedFeature], following: dict[int, int]
    ) -> list[Operation]:
        """One operation for each feature, numbered behind those that are there, and those in ``following``."""
        group: list[Operation] = []
        for made in features:
            number = following.get(made.layer)
            if number is None:
                number = edits.next_feature(self.session.db, made.layer, self.session.network.ffn)
            following[made.layer] = number + 1
            group.append(replace(plain, layer=made.layer, feature=number, gate=made.gate, up=made.up, down=made.down))
        return group

    def _record(self, edge: Match, confidence: float | None) -> Report:
        """Change what is recorded of an inserted fact."""
        if edge.fact is None:
            raise ProgrammingError(f"the confidence of {OWN} is measured; only that of inserted facts can be set")
        edits.set_confidence(self.session.db, edge.fact, confidence)
        edits.show(self.session.db)
        return Report(edge.entity, edge.relation, edge.target, edge.layer, edge.feature, "update")

    # What it did

    def _read(
        self, asked: Sequence[tuple[Asking, str]], others: bool = False, layer: int | None = None
    ) -> list[Reading]:
        return self.effects.read(self.model, asked, others=others, layer=layer)

    def _finish(
        self, asked: Sequence[tuple[Asking, str]], before: Sequence[Reading], others: bool, regression: float | None,
        layer: int | None = None,
    ) -> list[Reading]:  # fmt: skip
        """What the network says now of each fact; TooMuchChanged where that is not allowed."""
        self.background.store()
        readings = self._read(asked, others, layer)
        for (how, _), was, after in zip(asked, before, readings, strict=True):
            change = neighbourhood(was, after) if others else None
            if regression is not None and change is not None and change > regression:
                prompt = most_changed(was, after, how.neighbours)
                raise TooMuchChanged(prompt=prompt, change=change, limit=regression)
        return readings

    def _report(
        self, fact: tuple[str, str, str], layer: int | None, feature: int | None, mode: str | None, before: Reading,
        after: Reading, notes: Sequence[str],
    ) -> Report:  # fmt: skip
        return Report(
            *fact, layer, feature, mode, before.probability, after.probability, after.paraphrase,
            neighbourhood(before, after), divergence(before, after), "; ".join(notes) or None,
        )  # fmt: skip
