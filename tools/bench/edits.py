"""What edits do: ``larqldb edit-eval`` on two models, with other wordings and entities, and beside other methods.

The facts are the built-in ones of ``larqldb edit-eval``; "ParaRel and LRE" are facts about entities of ParaRel (Elazar
et al., 2021) that no relation pack names, asked in its wordings and those of LRE (Hernandez et al., 2024), read from
../shared/data where that is there. INSERT never sees either. The methods beside it (``edits_baselines``) get the same
facts, and are asked the same; ROME and MEMIT need a Python that has torch, and SmolLM2. Their layer and λ were chosen
on six facts of another seed. Seconds are wall time.

    python edits.py [SMOLLM2.vindex [GEMMA3.vindex]] [--torch PYTHON]

Run it without paths and it makes the vindexes. They are copied, not changed.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import edits_baselines as baselines
from common import ROOT, Figure, in_a_process, model, save

import larqldb
from larqldb.edit import evaluate_facts
from larqldb.edit.evaluate import Evaluation, Result, Tally
from larqldb.edit.evaluate_facts import Stated
from larqldb.edit.evaluate_trials import Wordings
from larqldb.knowledge import packs
from larqldb.knowledge.answers import key

DATA = ROOT.parent / "shared" / "data"
PARAREL = {"capital": "P36", "language": "P37", "continent": "P30", "occupation": "P106"}
LRE = {
    "capital": "country_capital_city", "language": "country_language", "currency": "country_currency",
    "occupation": "person_occupation",
}  # fmt: skip
SINGLE, BATCHES, SEQUENTIAL = 24, (10, 50, 200), 200
HELD_OUT = 16  # facts about entities of ParaRel
WORDINGS = 6  # of ParaRel and LRE, for a relation
BESIDE = 12  # facts that the methods beside it edit alone
BESIDE_BATCHES = (10, 50)
LAYER, WEIGHT = 9, 150.0  # of ROME and of MEMIT's last; λ
KNN_LAYER, COMPOSE_LAYER = 0.8, 0.8  # of the layers


def held_out() -> tuple[list[Stated], dict[str, Wordings]]:
    """Counterfactual facts about ParaRel's entities, and wordings: the packs' for INSERT, ParaRel's and LRE's else."""
    ways: dict[str, Wordings] = {}
    for relation in {**PARAREL, **LRE}:
        pack = next(pack for pack in packs.builtin() if pack.relation == relation)
        seen = pack.wordings[: (len(pack.wordings) + 1) // 2]
        found = []
        if relation in PARAREL:
            patterns = [row["pattern"] for row in _rows("patterns", PARAREL[relation])]
            matches = (re.fullmatch(r"(.*\[X\].*) \[Y\] ?\.?", pattern) for pattern in patterns)
            found += [match[1].replace("[X]", "{entity}") for match in matches if match]
        if relation in LRE:
            samples = json.loads((DATA / "lre" / f"{LRE[relation]}.json").read_text())
            both = samples["prompt_templates"] + samples["prompt_templates_zs"]
            found += [text.replace("{}", "{entity}") for text in both]
        unseen = [text for text in dict.fromkeys(found) if text not in seen]
        ways[relation] = Wordings(
            tuple(seen), tuple(random.Random(relation).sample(unseen, min(WORDINGS, len(unseen))))
        )
    known = {key(fact.entity) for pack in packs.builtin() for fact in pack.facts}
    facts: list[list[Stated]] = []
    for relation, name in PARAREL.items():
        rows = [(row["sub_label"], row["obj_label"]) for row in _rows("triples", name)]
        rng = random.Random(f"0 {relation}")
        rng.shuffle(rows)
        right: dict[str, set[str]] = {}
        for entity, target in rows:
            right.setdefault(entity, set()).add(target)
        new = [entity for entity in right if key(entity) not in known][: HELD_OUT // len(PARAREL)]
        targets = sorted({target for _, target in rows})
        facts.append([Stated(e, relation, rng.choice([t for t in targets if t not in right[e]])) for e in new])
    return [fact for several in zip(*facts, strict=True) for fact in several], ways


def runs(path: Path) -> Iterator[tuple[str, Result, Tally]]:
    """larqldb's own results on a vindex, each on a fresh copy: method, result, and what was said."""
    drawn = evaluate_facts.builtin(SEQUENTIAL + SEQUENTIAL // 8, 0)
    with _copied(path) as copy, closing(larqldb.connect(copy)) as connection:
        evaluation = Evaluation(connection, drawn)
        evaluation.prepare()
        for result, tally in evaluation.run(SINGLE, BATCHES, SEQUENTIAL):
            yield "INSERT", result, tally
    with _copied(path) as copy, closing(larqldb.connect(copy)) as connection:
        evaluation = Evaluation(connection, drawn[:SINGLE], mode="knn")
        evaluation.prepare()
        for result, tally in evaluation.run(BESIDE, (), 0):
            yield "INSERT … MODE KNN", result, tally
    if DATA.exists():
        facts, ways = held_out()
        with _copied(path) as copy, closing(larqldb.connect(copy)) as connection:
            evaluation = Evaluation(connection, facts, wordings=ways)
            evaluation.prepare()
            for result, tally in evaluation.run(HELD_OUT, (), 0):
                yield "INSERT, ParaRel and LRE", result, tally


def beside(path: Path, python: str | None, folder: Path) -> Iterator[tuple[str, Result, Tally]]:
    """The same of other methods, on the same facts."""
    with _copied(path) as copy, closing(larqldb.connect(copy)) as connection:
        evaluation = Evaluation(connection, evaluate_facts.builtin(max(BESIDE_BATCHES) + 8, 0))
        session, trials, measure = connection.session, evaluation.trials, evaluation.measure
        layers = session.network.layers

        def alone(name: str, runners: Any) -> tuple[str, Result, Tally]:
            states = ((runner, [trial]) for runner, trial in zip(runners, trials[:BESIDE], strict=True))
            return name, *baselines.measured(session, measure, "single", states)

        def together(name: str, runner: Any, size: int) -> tuple[str, Result, Tally]:
            return name, *baselines.measured(session, measure, f"{size} together", iter([(runner, trials[:size])]))

        for name, make, place in (
            ("the reference's KNN", baselines.knn_runner, round(KNN_LAYER * layers)),
            ("the reference's COMPOSE", baselines.compose_runner, round(COMPOSE_LAYER * layers)),
        ):
            yield alone(name, (make(session, [trial], place) for trial in trials[:BESIDE]))
            for size in BESIDE_BATCHES:
                yield together(name, make(session, trials[:size], place), size)
        if python is None or session.network.family != "llama":
            return
        found = baselines.by_gradients(
            python, folder, session, trials[: max(BESIDE_BATCHES)], layers=[LAYER], single=BESIDE,
            sizes=BESIDE_BATCHES, weights=[WEIGHT],
        )  # fmt: skip
        yield alone("ROME", baselines.rome_runners(session.base_runner, found, LAYER))
        for size in BESIDE_BATCHES:
            yield together("MEMIT", baselines.memit_runner(session.base_runner, found, LAYER, size, WEIGHT), size)


def figures(title: str, results: Sequence[tuple[str, Result, Tally]]) -> Iterator[Figure]:
    """One figure for each result, with all of it among its measurements."""
    for method, result, tally in results:
        row = {"model": title, "method": method, **asdict(result), "by_kind": _by_kind(tally)}
        yield Figure(
            f"{title}, {method}, {result.run}: unseen wordings answered with the target", result.unseen, "share",
            "≥ 0.5, go for 0.8" if result.facts > len(BATCHES) * 50 else "≥ 0.65, go for 0.9", row,
        )  # fmt: skip


def _by_kind(tally: Tally) -> dict[str, dict[str, float]]:
    """Shares of facts whose target is said, in the inserted wording and to the point, by kind of fact."""
    found: dict[str, list[tuple[bool, bool]]] = {}
    for detail, said, exact in zip(tally.details, tally.efficacy, tally.exact, strict=True):
        found.setdefault(detail["kind"], []).append((said, exact))
    by_kind: dict[str, dict[str, float]] = {}
    for kind, rows in found.items():
        efficacy, exact = (sum(column) / len(rows) for column in zip(*rows, strict=True))
        by_kind[kind] = {"facts": len(rows), "efficacy": efficacy, "exact": exact}
    return by_kind


class _copied:  # noqa: N801 - a context manager
    """A copy in a folder of its own."""

    def __init__(self, path: Path) -> None:
        self._path, self._folder = path, tempfile.TemporaryDirectory()

    def __enter__(self) -> Path:
        return Path(shutil.copyfile(self._path, Path(self._folder.name) / self._path.name))

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def _rows(kind: str, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / "pararel" / kind / f"{name}.jsonl").read_text().splitlines() if line]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("vindexes", nargs="*", type=Path)
    parser.add_argument("--torch", metavar="PYTHON")
    given = parser.parse_args()
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for place, (title, name) in enumerate({"SmolLM2": "smollm2", "Gemma 3": "gemma3"}.items()):
            if given.vindexes and place >= len(given.vindexes):
                break
            path = given.vindexes[place] if given.vindexes else Path(folder) / f"{name}.vindex"
            if not given.vindexes:
                in_a_process("import sys, larqldb; larqldb.extract(*sys.argv[1:]); result = {}", model(name), path)
            results = []
            for each in (*runs(path), *beside(path, given.torch, Path(folder))):
                print(each[:2], flush=True)
                results.append(each)
            found += figures(title, results)
    save(__file__, found)


if __name__ == "__main__":
    main()
