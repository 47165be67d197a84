"""Features with a relation that probes confirm, the same with relations shuffled, and whether it holds for others.

A model is asked about some entities of every built-in relation (40 unless told otherwise; more of them confirm more
features) in every wording. "Elsewhere" takes what half of the entities confirm and asks of the other half: does a
feature add more to the answers of its relation than, on average, to those of the other relations? Chance is one half.
Run it with the paths of vindexes of SmolLM2 and Gemma 3 that were probed already, with ``--entities N``, or with
neither: it makes them.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from common import Figure, model, save

import larqldb
from larqldb.knowledge import labels
from larqldb.knowledge.probe import Request, builtin_requests, run
from larqldb.storage.database import open_database

MODELS = {"SmolLM2-135M-Instruct": "smollm2", "Gemma 3 270M": "gemma3"}
SHUFFLES = 20


def main() -> None:
    """Measure both models."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("vindexes", nargs="*", type=Path)
    parser.add_argument("--entities", type=int, default=40, help="to ask about, of each relation")
    given = parser.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for place, (name, key) in enumerate(MODELS.items()):
            if given.vindexes:
                if place >= len(given.vindexes):
                    break
                path = given.vindexes[place]
            else:
                path = Path(folder) / f"{key}.vindex"
                larqldb.extract(model(key), path)
                run(path, [some(request, given.entities) for request in builtin_requests()])
            measured = confirmed(path)
            figures += [
                Figure(f"{name}: features with a confirmed relation", 100 * measured["share"], "%", "≥ 3", measured),
                Figure(f"{name}: the same with relations shuffled", 100 * measured["shuffled"], "%", "≤ 0.1"),
                Figure(f"{name}: relations that hold elsewhere", 100 * measured["elsewhere"], "%", "≥ 90"),
            ]
    save(__file__, figures)


def some(request: Request, count: int) -> Request:
    """A request about ``count`` of its facts' entities, always the same ones."""
    entities = list(dict.fromkeys(fact.entity for fact in request.facts))
    chosen = set(random.Random(0).sample(entities, min(count, len(entities))))
    return dataclasses.replace(request, facts=tuple(fact for fact in request.facts if fact.entity in chosen))


def confirmed(path: Path) -> dict[str, Any]:
    """The share of a probed vindex's features with a confirmed relation, as shuffled ones give it, and elsewhere."""
    with closing(open_database(path, read_only=True)) as db:
        given = labels.contributions(db)
        features = db.execute("SELECT count(*) FROM features").fetchone()[0]
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    found = labels.confirmed(given)
    seconds = time.perf_counter() - start
    by_chance = [labels.confirmed(given, rng.permutation(given.relation)).feature for _ in range(SHUFFLES)]
    sizes = np.bincount(found.relation, minlength=len(given.relations)).tolist()
    return {
        "share": len(np.unique(found.feature)) / features,
        "shuffled": float(np.mean([len(np.unique(each)) for each in by_chance])) / features,
        "elsewhere": elsewhere(given, rng),
        "features": features,
        "pairs": len(found.feature),
        "answers": len(given.relation),
        "relations": dict(zip(given.relations, sizes, strict=True)),
        "seconds": seconds,
    }


def elsewhere(given: labels.Contributions, rng: np.random.Generator) -> float:
    """Of what half of the answers confirm, the share that holds for the other half; nan where nothing is confirmed."""
    first = rng.random(len(given.relation)) < 0.5
    found = labels.confirmed(part(given, first))
    other = part(given, ~first)
    kinds, features = len(given.relations), len(given.places)
    cell = other.relation[other.answer] * features + other.feature
    sums = np.bincount(cell, other.size, kinds * features).reshape(kinds, features)
    means = sums / np.maximum(np.bincount(other.relation, minlength=kinds), 1)[:, None]
    own = means[found.relation, found.feature]
    rest = (means.sum(axis=0)[found.feature] - own) / max(kinds - 1, 1)
    return float(np.mean(own > rest)) if len(own) else float("nan")


def part(given: labels.Contributions, kept: np.ndarray[Any, Any]) -> labels.Contributions:
    """What some of the answers showed."""
    number, mine = np.cumsum(kept) - 1, kept[given.answer]
    return dataclasses.replace(
        given,
        relation=given.relation[kept],
        answer=number[given.answer[mine]],
        feature=given.feature[mine],
        size=given.size[mine],
    )


if __name__ == "__main__":
    main()
