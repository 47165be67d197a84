"""Vector search through SQL: time against numpy's matrix-vector product, recall against float64, rows joined a second.

Run it with the paths of vindexes of SmolLM2 and Gemma 3, or without any: it makes them. The layer of 10,240 × 2,560
is random.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from common import Figure, in_a_process, save
from describe import vindexes

SEARCH = """
import statistics, sys, time
import numpy as np, larqldb
connection = larqldb.connect(sys.argv[1], read_only=True, cache_mb=1024)
session = connection.session
layer = session.layers[len(session.layers) // 2]
gates = session.matrix('gate', layer)
q = np.random.default_rng(0).standard_normal(gates.shape[1]).astype(np.float32)
blob, reduced = q.tobytes(), np.append(q, np.float32(0)).tobytes()
actions = {
    'numpy': lambda: gates @ q,
    'k10': lambda: connection.execute('SELECT * FROM gate_match(?, 10, ?)', (blob, layer)).fetchall(),
    'all': lambda: connection.execute('SELECT * FROM gate_match(?, NULL, ?)', (blob, layer)).fetchall(),
}
if sys.argv[2] == 'vec0':
    session.vectors.attach()
    actions['vec0'] = lambda: connection.execute(
        'SELECT feature, distance FROM vec.gates WHERE vector MATCH ? AND layer = ? AND k = 10', (reduced, layer)
    ).fetchall()
times = {name: [] for name in actions}
for repetition in range(41):
    for name, action in actions.items():
        start = time.perf_counter(); action(); end = time.perf_counter()
        if repetition:
            times[name].append(end - start)
result = {name + '_ms': statistics.median(t) * 1e3 for name, t in times.items()} | {'shape': list(gates.shape)}
"""
RECALL = """
import sys
import numpy as np, larqldb
connection = larqldb.connect(sys.argv[1], read_only=True)
session = connection.session
conditions = {
    'without a condition': lambda f: True,
    'feature < 500': lambda f: f < 500,
    'feature % 3 <> 0': lambda f: f % 3 != 0,
    'feature < 50 OR feature > 1400': lambda f: f < 50 or f > 1400,
    'feature BETWEEN 10 AND 900 AND NOT feature IN (11, 12)': lambda f: 10 <= f <= 900 and f not in (11, 12),
}
result = {}
for role in ('gate', 'down'):
    for text, allowed in conditions.items():
        where = '' if text.startswith('without') else ' WHERE ' + text
        for k in (1, 10, 100, 1000, 5000):
            right = wanted = 0
            for layer in session.layers:
                q = np.random.default_rng(layer).standard_normal(session.network.hidden).astype(np.float32)
                scores = session.matrix(role, layer).astype(np.float64) @ q.astype(np.float64)
                order = np.lexsort((np.arange(len(scores)), -scores)).tolist()
                true = [f for f in order if allowed(f)][:k]
                sql = f'SELECT feature FROM {role}_match(?, NULL, ?){where} ORDER BY score DESC, feature LIMIT {k}'
                if not where:
                    sql = f'SELECT feature FROM {role}_match(?, {k}, ?)'
                found = {f for (f,) in connection.execute(sql, (q.tobytes(), layer))}
                wanted += len(true); right += len(found & set(true))
            result[f'{role} {text}, k = {k}'] = right / wanted
"""
JOIN = """
import statistics, sys, time
import larqldb
connection = larqldb.connect(sys.argv[1], read_only=True, cache_mb=1024)
sql = ("SELECT count(*), avg(w.contribution), max(f.token) FROM walk(?, ?, 'pure') AS w "
       "JOIN features AS f USING (layer, feature)")
result = {}
for top in (10, 100000):
    times = []
    for _ in range(6):
        start = time.perf_counter()
        ((rows, *_),) = connection.execute(sql, ('The capital of France is', top)).fetchall()
        times.append(time.perf_counter() - start)
    result[f'top_{top}'] = {'rows': rows, 's': statistics.median(times[1:])}
"""
SYNTHETIC = """
import sys
from pathlib import Path
import larqldb
from tests.tiny import write_tiny
folder, path = sys.argv[1:]
write_tiny(Path(folder), hidden_size=2560, intermediate_size=10240, num_hidden_layers=1,
           num_attention_heads=20, head_dim=128, num_key_value_heads=1)
larqldb.extract(folder, path)
result = {}
"""


def main() -> None:
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        paths = vindexes(sys.argv[1:], folder)
        synthetic = Path(folder) / "synthetic.vindex"
        in_a_process(SYNTHETIC, Path(folder) / "model", synthetic)
        for title, path in {**paths, "random": synthetic}.items():
            run = in_a_process(SEARCH, path, "vec0")
            shape = "{:,} × {:,}".format(*run["shape"])
            figures += [
                Figure(
                    f"gate_match, k = 10, {shape} ({title}), over numpy's matrix-vector product",
                    run["k10_ms"] / run["numpy_ms"], "ratio", "reported", run,
                ),
                Figure(
                    f"vec0 on the same, k = 10, {shape} ({title}), over numpy's matrix-vector product",
                    run["vec0_ms"] / run["numpy_ms"], "ratio", "reported",
                ),
            ]  # fmt: skip
        for title, path in paths.items():
            recalls = in_a_process(RECALL, path)
            recalls.pop("peak_mb")
            figures.append(
                Figure(
                    f"{title}: least recall of gate_match and down_match against float64, k = 1 to 5,000, "
                    "with and without conditions",
                    min(recalls.values()), "share", "1", recalls,
                )
            )  # fmt: skip
            joined = in_a_process(JOIN, path)
            whole = joined["top_100000"]
            figures.append(
                Figure(
                    f"{title}: walk() of every feature joined with features, all layers",
                    whole["rows"] / whole["s"], "rows/s", "reported", joined,
                )
            )  # fmt: skip
    save(__file__, figures)


if __name__ == "__main__":
    main()
