"""Measuring edits: facts are inserted into a file one by one, many at once and one after the other, and taken back.

What INSERT was not told is what counts: wordings, neighbours and texts that it does not see (``evaluate_trials``).
Answers are whole ones, gone on with greedily. The file must be a copy: its relations' wordings are changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.edit.context import forget_texts
from larqldb.edit.evaluate_facts import Stated, relations
from larqldb.edit.evaluate_network import AFTERWARDS, Divergence, Network, divergence, is_all, says
from larqldb.edit.evaluate_texts import TEXTS
from larqldb.edit.evaluate_trials import Trial, Wordings, hold_out, split, trials
from larqldb.edit.measuring import target_ids
from larqldb.errors import ProgrammingError

if TYPE_CHECKING:
    from larqldb.dbapi import Connection

Progress = Callable[[str, int, int], None]
CHECKPOINTS = (50, 200)  # edits after which all facts so far are asked again
TIMED = 8  # facts whose report is timed
KNOWN = "the model answers it already"


@dataclass(frozen=True)
class Result:
    """What trials showed; shares are of as many prompts as ``counts`` says.

    ``efficacy``: the target is what the model says on the inserted wording; ``exact``: it says no more than that;
    ``seen``, ``unseen``: the target is what it says on wordings that INSERT did and did not see; ``neighbours``,
    ``others``: answers of other entities, and of the same in other relations where it can be asked, that are as before.
    KL in nats, ``seconds`` of INSERT a fact, without the report, or of COMPACT MAJOR.
    """

    run: str
    facts: int
    efficacy: float
    exact: float
    seen: float
    unseen: float
    neighbours: float
    others: float | None
    kl: float
    kl_most: float
    seconds: float | None
    seconds_reported: float | None = None
    counts: dict[str, int] = field(default_factory=dict)


@dataclass
class Tally:
    """What was found of trials, prompt by prompt."""

    efficacy: list[bool] = field(default_factory=list)
    exact: list[bool] = field(default_factory=list)
    seen: list[bool] = field(default_factory=list)
    unseen: list[bool] = field(default_factory=list)
    neighbours: list[bool] = field(default_factory=list)
    others: list[bool] = field(default_factory=list)
    moved: list[Divergence] = field(default_factory=list)
    details: list[dict[str, Any]] = field(default_factory=list)

    def result(self, run: str, seconds: Sequence[float], reported: Sequence[float] = ()) -> Result:
        """The shares."""
        asked = (self.efficacy, self.exact, self.seen, self.unseen, self.neighbours)
        efficacy, exact, seen, unseen, neighbours = (float(np.mean(hits)) for hits in asked)
        names = ("efficacy", "exact", "seen", "unseen", "neighbours", "others")
        return Result(
            run, len(self.efficacy), efficacy, exact, seen, unseen, neighbours, _mean(self.others),
            float(np.mean([each.mean for each in self.moved])), max(each.most for each in self.moved),
            _mean(seconds), _mean(reported), {name: len(getattr(self, name)) for name in names},
        )  # fmt: skip


def _mean(numbers: Sequence[float]) -> float | None:
    return float(np.mean(numbers)) if numbers else None


class Measure:
    """Compares states of a network with its base, on the prompts of trials and on ``TEXTS``."""

    def __init__(self, base: Network, everything: Sequence[Trial]) -> None:
        self.texts = base.log_probabilities(TEXTS)
        prompts = list(dict.fromkeys(text for trial in everything for text in (*trial.neighbours, *trial.others)))
        self.before = dict(zip(prompts, base.answers(prompts), strict=True))

    def look(self, network: Network, some: Sequence[Trial], tally: Tally, *, part: int | None = None) -> None:
        """Ask about ``some`` facts, their neighbours, other relations, and texts: one half of those, where ``part``."""
        self._ask(network, some, tally)
        for name in ("neighbours", "others"):
            prompts = list(dict.fromkeys(text for trial in some for text in getattr(trial, name)))
            getattr(tally, name).extend(network.keeps(prompts, [self.before[text] for text in prompts]))
        chosen = slice(None) if part is None else slice(part % 2, None, 2)
        tally.moved.append(divergence(self.texts[chosen], network.log_probabilities(TEXTS[chosen])))

    def _ask(self, network: Network, some: Sequence[Trial], tally: Tally) -> None:
        """Ask for targets; of several facts, seen wordings beyond the first are left out."""
        asked = [[*trial.seen[: 1 if len(some) > 1 else None], *trial.unseen] for trial in some]
        longest = max(len(target_ids(network.tokenizer, trial.fact.target)) for trial in some)
        answers = iter(network.answers([text for texts in asked for text in texts], longest + AFTERWARDS))
        for trial, prompts in zip(some, asked, strict=True):
            fact, texts = trial.fact, [next(answers).text for _ in prompts]
            hits = [says(text, fact.target) for text in texts]
            seen = len(prompts) - len(trial.unseen)
            tally.efficacy.append(hits[0])
            tally.exact.append(is_all(texts[0], fact.target))
            tally.seen += hits[:seen]
            tally.unseen += hits[seen:]
            tally.details.append({**asdict(fact), "answers": dict(zip(prompts, texts, strict=True))})


class Evaluation:
    """Inserts facts through a connection to a copy and measures what comes of it; nothing stays.

    ``mode`` is INSERT's. ``wordings`` stand in for those that the file, or a pack, has for a relation. ``left_out`` are
    facts that the model answers already. Raises ProgrammingError where none is left, and what INSERT raises.
    """

    def __init__(
        self,
        connection: Connection,
        facts: Sequence[Stated],
        *,
        mode: str = "compose",
        wordings: Mapping[str, Wordings] | None = None,
        progress: Progress = lambda what, done, total: None,
    ) -> None:
        self._connection, self._progress = connection, progress
        self._statement = f"INSERT INTO EDGES (entity, relation, target) VALUES (?, ?, ?) MODE {mode.upper()}"
        self._composes = mode == "compose"
        self.done = self.total = 0
        db = connection.database
        given = wordings or {}
        known = {relation: given.get(relation) or split(db, relation) for relation in relations(facts)}
        progress("what the model says without edits", 0, 1)
        with db:
            for relation, ways in known.items():
                hold_out(db, relation, ways)
        asked = trials(db, facts, known)
        base = self._network()
        answers = base.answers([trial.seen[0] for trial in asked])
        self.left_out = [t.fact for t, said in zip(asked, answers, strict=True) if says(said.text, t.fact.target)]
        self.trials = [trial for trial in asked if trial.fact not in self.left_out]
        if not self.trials:
            raise ProgrammingError("the model answers all of these facts already: there is nothing to insert")
        self.measure = Measure(base, self.trials)

    def run(self, single: int, batches: Sequence[int], sequential: int) -> Iterator[tuple[Result, Tally]]:
        """Single edits, then batches, then edits one after the other; as many as there are facts."""
        single, sequential = min(single, len(self.trials)), min(sequential, len(self.trials))
        sizes = [size for size in batches if size <= len(self.trials)]
        self.total = 1 + single + sum(sizes) + sequential + bool(sequential and self._composes)
        yield from ([self.single(single)] if single else ())
        for size in sizes:
            yield self.together(size)
        if sequential:
            yield from self.sequential(sequential)

    def prepare(self) -> list[float]:
        """Seconds that the first edit takes, and the first of each further relation.

        What does not depend on the fact is found out then, and stays in the file.
        """
        self._step("the first edit")
        seconds = []
        for trial in {trial.fact.relation: trial for trial in reversed(self.trials)}.values():
            seconds.append(self._insert([trial]))
            self._connection.commit()
            fact = trial.fact
            self._connection.execute(
                "DELETE FROM EDGES WHERE entity = ? AND relation = ? AND target = ?",
                (fact.entity, fact.relation, fact.target),
            )
            self._connection.commit()
        return seconds

    def single(self, count: int) -> tuple[Result, Tally]:
        """Each of some facts alone."""
        tally = Tally()
        seconds, reported = [], []
        for number, trial in enumerate(self.trials[:count]):
            self._step("single edits")
            seconds.append(self._insert([trial]))
            self.measure.look(self._network(), [trial], tally, part=number)
            self._connection.rollback()
        for trial in self.trials[: min(count, TIMED)]:
            reported.append(self._insert([trial], reports=True))
            self._connection.rollback()
        return tally.result("single", seconds, reported), tally

    def together(self, size: int) -> tuple[Result, Tally]:
        """Some facts in one ``executemany``."""
        self._step(f"{size} facts together")
        tally = Tally()
        chosen = self.trials[:size]
        seconds = self._insert(chosen) / size
        self.done += size - 1
        self.measure.look(self._network(), chosen, tally)
        self._connection.rollback()
        return tally.result(f"{size} together", [seconds]), tally

    def sequential(self, count: int) -> Iterator[tuple[Result, Tally]]:
        """Facts inserted one after the other; all so far are asked again at each of ``CHECKPOINTS`` and at the end.

        And once more after COMPACT MAJOR, where they are features; its seconds are of a fact, too.
        """
        seconds: list[float] = []
        for number, trial in enumerate(self.trials[:count], 1):
            self._step("one after the other")
            seconds.append(self._insert([trial]))
            if number == count or number in CHECKPOINTS:
                tally = Tally()
                self.measure.look(self._network(), self.trials[:number], tally)
                yield tally.result(f"{number} one after the other", seconds), tally
        if self._composes:
            self._step("COMPACT MAJOR")
            tally = Tally()
            start = time.perf_counter()
            self._connection.execute("COMPACT MAJOR")
            spent = time.perf_counter() - start
            self.measure.look(self._network(), self.trials[:count], tally)
            yield tally.result(f"{count}, then COMPACT MAJOR", [spent / count]), tally
        self._connection.rollback()

    def _insert(self, some: Sequence[Trial], *, reports: bool = False) -> float:
        """Insert facts; the seconds it took, as if their wordings had never been read."""
        given = [(trial.fact.entity, trial.fact.relation, trial.fact.target) for trial in some]
        self._connection.reports = reports
        forget_texts(self._connection.session.base_runner)
        start = time.perf_counter()
        if len(given) == 1:
            self._connection.execute(self._statement, given[0])
        else:
            self._connection.executemany(self._statement, given)
        return time.perf_counter() - start

    def _network(self) -> Network:
        session = self._connection.session
        return Network(session.runner, session.tokenizer, session.end_of_text)

    def _step(self, what: str) -> None:
        self._progress(what, self.done, max(1, self.total))
        self.done += 1
