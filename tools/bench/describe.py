"""DESCRIBE with warm caches, against numpy over the same gates kept in float32; and whether it finds the same.

The scan is what DESCRIBE asks of the gates: for one entity, the features of every layer that stand out, at most twenty
a layer, with their gate·x. numpy does it by a float32 matrix-vector product and ``argpartition`` for each layer, all
gates resident. Recall is against float64. Run it with the paths of vindexes of SmolLM2 and Gemma 3, or without any: it
makes them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from common import Figure, in_a_process, model, save

MEASURE = """
import statistics, sys, time
import numpy as np, larqldb
from larqldb.functions.arguments import mention
from larqldb.functions.associations import NEAREST, STANDOUT, nearest, standing_out

ENTITIES = ('France', 'Mozart', 'New York', 'water', 'Einstein', '東京', 'Python', 'music', 'London', 'gold',
            'Shakespeare', 'Africa', 'coffee', 'the Moon', 'Москва', 'football', 'Germany', 'Apple', 'sugar', 'Rome')
connection = larqldb.connect(sys.argv[1], read_only=True, cache_mb=1024)
session = connection.session
norms = dict(connection.execute('SELECT layer, gate_norm FROM layers').fetchall())
gates = {layer: session.matrix('gate', layer).copy() for layer in session.layers}
residuals = {e: session.embedding(mention(session, e, 'entity')).mean(axis=0) for e in ENTITIES}

def entered(residual):
    for layer in session.layers:
        x = session.enter(residual, layer)
        yield layer, x, STANDOUT * norms[layer] * float(np.linalg.norm(x)) / len(x) ** 0.5

def by_numpy(residual):
    found = []
    for layer, x, least in entered(residual):
        scores = gates[layer] @ x
        top = np.argpartition(scores, len(scores) - NEAREST)[len(scores) - NEAREST:]
        top = top[np.argsort(-scores[top])]
        top = top[scores[top] >= least]
        found += zip([layer] * len(top), top.tolist(), scores[top].tolist())
    return found

def by_scan(residual):
    return nearest(*standing_out(session, residual, norms))

def statement(entity):
    return connection.execute('DESCRIBE ?', (entity,)).fetchall()

right = wanted = 0
for entity, residual in residuals.items():
    statement(entity); found = {(layer, feature) for layer, feature, _ in by_scan(residual)}
    for layer, x, least in entered(residual):
        scores = gates[layer].astype(np.float64) @ x.astype(np.float64)
        true = [(layer, int(f)) for f in np.lexsort((np.arange(len(scores)), -scores))[:NEAREST] if scores[f] >= least]
        wanted += len(true); right += len(found & set(true))

times = {name: [] for name in ('numpy', 'scan', 'statement')}
assert session.gate_scan() is not None
def measure(name, action):
    start = time.perf_counter(); action(); times[name].append(time.perf_counter() - start)
for _ in range(5):
    for entity, residual in residuals.items():
        measure('numpy', lambda: by_numpy(residual))
        measure('scan', lambda: by_scan(residual))
        measure('statement', lambda: statement(entity))
result = {name + '_ms': statistics.median(t) * 1e3 for name, t in times.items()}
result |= {'recall': right / wanted, 'features': wanted / len(ENTITIES), 'gates': sum(g.size for g in gates.values()),
           'least_scan_ms': min(times['scan']) * 1e3, 'least_numpy_ms': min(times['numpy']) * 1e3}
"""


def vindexes(arguments: list[str], folder: str) -> dict[str, Path]:
    """The vindexes to measure on, by title: those named on the command line, or new ones."""
    names = {"SmolLM2": "smollm2", "Gemma 3": "gemma3"}
    if arguments:
        return dict(zip(names, map(Path, arguments), strict=False))
    made = {}
    for title, name in names.items():
        made[title] = Path(folder) / f"{name}.vindex"
        in_a_process("import sys, larqldb; larqldb.extract(*sys.argv[1:]); result = {}", model(name), made[title])
    return made


def main() -> None:
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for title, path in vindexes(sys.argv[1:], folder).items():
            run: dict[str, Any] = in_a_process(MEASURE, path)
            figures += [
                Figure(
                    f"{title}: scan of all gates for DESCRIBE, over numpy in float32",
                    run["scan_ms"] / run["numpy_ms"], "ratio", "go for ≤ 0.2", run,
                ),
                Figure(f"{title}: recall of that scan against float64", run["recall"], "share", "1"),
                Figure(
                    f"{title}: DESCRIBE as a whole, over numpy's scan alone",
                    run["statement_ms"] / run["numpy_ms"], "ratio", "reported",
                ),
                Figure(f"{title}: DESCRIBE as a whole", run["statement_ms"], "ms", "reported"),
            ]  # fmt: skip
    save(__file__, figures)


if __name__ == "__main__":
    main()
