"""What edits do: ``larqldb edit-eval`` on two models, with other wordings and entities, and beside other methods.

The facts are the built-in ones of ``larqldb edit-eval``; "ParaRel and LRE" are facts about entities of ParaRel (Elazar
et al., 2021) that no relation pack names, asked in its wordings and those of LRE (Hernandez et al., 2024), read from
../shared/data where that is there. INSERT never sees either. The methods beside it (``edits_baselines``) get the same
facts, and are asked the same; ROME and MEMIT need a Python that has torch, and SmolLM2. Their layer and λ were chosen
on six facts of another seed. Seconds are wall time.

    python edits.py [SMOLLM2.vindex [GEMMA3.vindex]] [--torch PYTHON] [--part PART …]

Run it without paths and it makes the vindexes. They are copied, not changed. With ``--part``, results of other parts
stay as they are.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import edits_baselines as baselines
from common import RESULTS, ROOT, Figure, in_a_process, model, save

import larqldb
from larqldb.edit import evaluate_facts
from larqldb.edit.evaluate import Evaluation, Measure, Result, Tally
from larqldb.edit.evaluate_facts import Stated
from larqldb.edit.evaluate_trials import Trial, Wordings
from larqldb.functions.session import Session
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
BESIDE = 24  # facts that the methods beside it edit alone
LAYER, WEIGHT = 9, 150.0  # of ROME and of MEMIT's last; λ
REFERENCE_LAYER = 0.8  # of the layers: larqldb's own


def held_out(count: int) -> tuple[list[Stated], dict[str, Wordings]]:
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
        new = [entity for entity in right if key(entity) not in known][: -(-count // len(PARAREL))]
        targets = sorted({target for _, target in rows})
        facts.append([Stated(e, relation, rng.choice([t for t in targets if t not in right[e]])) for e in new])
    return [fact for several in zip(*facts, strict=True) for fact in several], ways


Runs = Iterator[tuple[str, Result, Tally]]


def insert(path: Path, given: argparse.Namespace) -> Runs:
    """larqldb's own INSERT."""
    most = max(given.single, given.sequential, *given.sizes)
    drawn = evaluate_facts.builtin(most + most // 8, 0)
    yield from _inserted("INSERT", path, (given.single, given.sizes, given.sequential), drawn)


def by_key(path: Path, given: argparse.Namespace) -> Runs:
    """larqldb's own MODE KNN."""
    drawn = evaluate_facts.builtin(given.beside + 2, 0)
    yield from _inserted("INSERT … MODE KNN", path, (given.beside, (), 0), drawn, mode="knn")


def pararel(path: Path, given: argparse.Namespace) -> Runs:
    """INSERT on entities and with wordings that are not larqldb's own."""
    if DATA.exists():
        facts, ways = held_out(max(given.held_out, given.sequential, *given.sizes))
        sizes = given.held_out, given.sizes, given.sequential
        yield from _inserted("INSERT, ParaRel and LRE", path, sizes, facts, wordings=ways)


def _inserted(name: str, path: Path, sizes: tuple[int, Sequence[int], int], *facts: Any, **settings: Any) -> Runs:
    with _copied(path) as copy, closing(larqldb.connect(copy)) as connection:
        evaluation = Evaluation(connection, *facts, **settings)
        evaluation.prepare()
        for result, tally in evaluation.run(*sizes):
            yield name, result, tally


def reference(path: Path, given: argparse.Namespace) -> Runs:
    """The reference system's two ways, asked first in the wording that they go by."""
    for name, make in (
        ("the reference's KNN", baselines.knn_runner),
        ("the reference's COMPOSE", baselines.compose_runner),
    ):
        with _beside(path, given) as (session, measure, facts):
            trials = [replace(trial, seen=(baselines.canonical(trial), *trial.seen)) for trial in facts]
            place = round(REFERENCE_LAYER * session.network.layers)
            alone = ((make(session, [trial], place), [trial]) for trial in trials[: given.beside])
            yield name, *baselines.measured(session, measure, "single", alone)
            for size in given.sizes:
                together = iter([(make(session, trials[:size], place), trials[:size])])
                yield name, *baselines.measured(session, measure, f"{size} together", together)


def gradients(path: Path, given: argparse.Namespace) -> Runs:
    """ROME and MEMIT."""
    with tempfile.TemporaryDirectory() as folder, _beside(path, given) as (session, measure, trials):
        if given.torch is None or session.network.family != "llama":
            return
        found = baselines.by_gradients(
            given.torch, Path(folder), session, trials, layers=[LAYER], single=given.beside, sizes=given.sizes,
            weights=[WEIGHT],
        )  # fmt: skip
        base = session.base_runner
        alone = (
            (runner, [trial]) for runner, trial in zip(baselines.rome_runners(base, found, LAYER), trials, strict=False)
        )
        yield "ROME", *baselines.measured(session, measure, "single", alone)
        for size in given.sizes:
            together = iter([(baselines.memit_runner(base, found, LAYER, size, WEIGHT), trials[:size])])
            yield "MEMIT", *baselines.measured(session, measure, f"{size} together", together)


@contextmanager
def _beside(path: Path, given: argparse.Namespace) -> Iterator[tuple[Session, Measure, list[Trial]]]:
    """The facts that INSERT gets, for other methods."""
    most = max(given.beside, *given.sizes)
    with _copied(path) as copy, closing(larqldb.connect(copy)) as connection:
        evaluation = Evaluation(connection, evaluate_facts.builtin(most + most // 8, 0))
        yield connection.session, evaluation.measure, evaluation.trials[:most]


PARTS = {part.__name__: part for part in (insert, by_key, pararel, reference, gradients)}


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


@contextmanager
def _copied(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copyfile(path, Path(folder) / path.name))


def _rows(kind: str, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / "pararel" / kind / f"{name}.jsonl").read_text().splitlines() if line]


def _kept(found: Sequence[Figure]) -> list[Figure]:
    """Figures of earlier runs, of models and methods that were not measured now."""
    path = RESULTS / "edits.json"
    earlier = [Figure(**figure) for figure in json.loads(path.read_text())["figures"]] if path.exists() else []
    new = {(figure.measured["model"], figure.measured["method"]) for figure in found}
    return [figure for figure in earlier if (figure.measured["model"], figure.measured["method"]) not in new]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("vindexes", nargs="*", type=Path)
    parser.add_argument("--torch", metavar="PYTHON")
    parser.add_argument("--part", dest="parts", choices=PARTS, action="append")
    parser.add_argument("--single", type=int, default=SINGLE)
    parser.add_argument("--beside", type=int, default=BESIDE)
    parser.add_argument("--sequential", type=int, default=SEQUENTIAL)
    parser.add_argument("--held-out", type=int, default=HELD_OUT)
    parser.add_argument("--size", dest="sizes", type=int, action="append")
    given = parser.parse_args()
    given.sizes = given.sizes or BATCHES
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for place, (title, name) in enumerate({"SmolLM2": "smollm2", "Gemma 3": "gemma3"}.items()):
            if given.vindexes and (place >= len(given.vindexes) or not given.vindexes[place].exists()):
                continue
            path = given.vindexes[place] if given.vindexes else Path(folder) / f"{name}.vindex"
            if not given.vindexes:
                in_a_process("import sys, larqldb; larqldb.extract(*sys.argv[1:]); result = {}", model(name), path)
            for part in given.parts or PARTS:
                results = []
                for each in PARTS[part](path, given):
                    print(title, *each[:2], flush=True)
                    results.append(each)
                found += figures(title, results)
                save(__file__, sorted([*_kept(found), *found], key=_order))


def _order(figure: Figure) -> tuple[bool, int]:
    methods = ["INSERT", "INSERT, ParaRel and LRE", "INSERT … MODE KNN", "ROME", "MEMIT"]
    method = figure.measured["method"]
    return figure.measured["model"] != "SmolLM2", methods.index(method) if method in methods else len(methods)


if __name__ == "__main__":
    main()
