"""The walk against the whole network: divergence, rows, time for each token, peak memory; WALK against the real run."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import ROOT, Figure, in_a_process, model, save

import larqldb
from larqldb.model import budgets
from larqldb.model.walk import Choice, Choosing, Walker
from larqldb.storage import walk_budgets

# Four kinds of text for the figures. Budgets are found on others: MEASURED_ON.
TEXTS = {
    "prose": "The Eiffel Tower is a wrought-iron lattice tower on the Champ de Mars in Paris, France. It is named "
    "after the engineer Gustave Eiffel, whose company designed and built the tower from 1887 to 1889. Photosynthesis "
    "is a system of biological processes by which organisms such as most plants, algae and cyanobacteria turn "
    "light, typically from the sun, into the chemical energy that their metabolism needs.",
    "code": "def merge(left, right):\n    result = []\n    i = j = 0\n    while i < len(left) and j < len(right):\n"
    "        if left[i] <= right[j]:\n            result.append(left[i])\n            i += 1\n        else:\n"
    "            result.append(right[j])\n            j += 1\n    return result + left[i:] + right[j:]\n",
    "French": "Le château de Versailles fut la résidence des rois de France de Louis XIV à Louis XVI. Il se trouve au "
    "sud-ouest de Paris, dans la ville de Versailles. Le roi y fit venir les meilleurs artistes de son temps.",
    "table": "| country | capital | population |\n|---|---|---|\n| France | Paris | 68 million |\n| Germany | Berlin | "
    "84 million |\n| Italy | Rome | 59 million |\n| Spain | Madrid | 48 million |\n| Portugal | Lisbon |",
}
MEASURED_ON = {
    "prose": "In 1969 the astronauts of Apollo 11 landed on the Moon and brought rocks back to the Earth. Bread is "
    'made of flour, water, salt and yeast; the dough rests for some hours before it is baked. "Where are you going?" '
    "she asked, and closed the door behind him.",
    "code": "for (int i = 0; i < n; i++) {\n    total += values[i] * weights[i];\n}\nreturn total / n;\n",
    "French": "La révolution commença en 1789 et changea toute l'Europe. Les livres de cet auteur se vendent encore "
    "aujourd'hui dans toutes les librairies.",
    "table": "name, age, city\nAnna, 34, Vienna\nBob, 27, London\nChen, 45, Beijing\n",
}
PROMPTS = (
    "The capital of France is", "Water boils at a temperature of", "import numpy as", "La capitale de l'Italie est",
    "| 1 | one |\n| 2 |",
)  # fmt: skip
MOST = 0.05  # nats: what a walk may be from the whole network
CACHE_MB = 64  # room for every row of both models: an answer asks for half of all rows, each about as often as others

# Reads a prompt, then greedily some tokens more; prints the median time for one of the later ones.
DECODE = """
import json, sys, time, larqldb
path, kind, prompt, cache = sys.argv[1:]
options = {'walk': True} if kind == 'walk' else {}
connection = larqldb.connect(path, read_only=True, cache_mb=int(cache), **options)
session = connection.session
reader = session.walking.walker() if kind == 'walk' else session.runner.decoder()
logits = reader.read(session.tokenizer.encode(prompt))
times = []
for _ in range(64):
    token = int(logits.argmax())
    start = time.perf_counter(); logits = reader.read([token]); times.append(time.perf_counter() - start)
times = sorted(times[16:])
print(json.dumps({'ms': 1e3 * times[len(times) // 2], 'fastest_ms': 1e3 * times[0]}), flush=True)
sys.stdin.read()
"""


def main() -> None:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, title in (("smollm2", "SmolLM2"), ("gemma3", "Gemma 3")):
            path = Path(folder) / f"{name}.vindex"
            in_a_process("import sys, larqldb; larqldb.extract(*sys.argv[1:]); result = {}", model(name), path)
            connection = larqldb.connect(path)
            figures += [*fidelity(connection, title), top_features(connection, title)]
            connection.close()
            figures += side_by_side(path, title)
    save(__file__, figures)


def fidelity(connection: larqldb.Connection, title: str) -> list[Figure]:
    """Divergence and rows for fixed numbers of rows, one mass, and budgets, which the file keeps.

    How rows are shared out among the layers is found on other texts; one factor for all is set on these.
    """
    session, walking = connection.session, connection.session.walking
    walking.measure(list(MEASURED_ON.values()), "prose, code, French and a table", kl=MOST)
    texts = {kind: session.tokenizer.encode(text) for kind, text in TEXTS.items()}
    true = {kind: session.runner.all_logits(ids) for kind, ids in texts.items()}

    def measured(choice: Choice) -> dict[str, Any]:
        """KL, agreement and share over all texts, and the KL on each kind."""

        def start(choosing: Choosing) -> Walker:
            return Walker(walking.model, session.embedding, walking.rows, choosing)

        over = budgets.measure(start, choice, list(texts.values()), list(true.values()))
        kinds = {kind: budgets.measure(start, choice, [texts[kind]], [true[kind]]).kl for kind in texts}
        return {"kl": over.kl, "agreement": over.agreement, "share": over.share, "kl_by_text": kinds}

    layers = session.network.layers
    choice, found = scaled(walking.choice, measured)
    kept = walk_budgets.read(connection.database)
    assert kept is not None
    walk_budgets.write(connection.database, replace(kept, numbers=choice.numbers))
    fixed = {f"top {k}": measured(Choice("top", (k,) * layers)) for k in (256, 384, 512, 768, 1024)}
    fixed |= {f"mass {p}": measured(Choice("mass", (p,) * layers)) for p in (0.8, 0.9)}
    fixed |= {"all rows (8 bits alone)": measured(Choice("mass", (1.0,) * layers))}
    return [
        Figure(f"{title}: FFN rows the walk pulls by its budgets", found["share"], "share", "<= 0.5", found | fixed),
        Figure(f"{title}: KL of that walk to the whole network", found["kl"], "nats", f"<= {MOST}"),
    ]


def scaled(choice: Choice, measured: Callable[[Choice], dict[str, Any]]) -> tuple[Choice, dict[str, Any]]:
    """A choice with all its thresholds times one factor, the largest that keeps the KL on these texts at most MOST."""
    low, high = 0.5, 2.0
    best = replace(choice, numbers=(0.0,) * len(choice.numbers))
    result = measured(best)
    for _ in range(6):
        factor = (low * high) ** 0.5
        tried = replace(choice, numbers=tuple(factor * number for number in choice.numbers))
        found = measured(tried)
        if found["kl"] <= MOST:
            low, best, result = factor, tried, found
        else:
            high = factor
    return best, result


def top_features(connection: larqldb.Connection, title: str) -> Figure:
    """WALK's top 20 of each layer, among the 100 that contribute most in the whole network's run."""
    found = hits = 0
    for prompt in PROMPTS:
        ours = connection.execute("SELECT layer, feature FROM walk(?, 20)", (prompt,)).fetchall()
        true = set(connection.execute("SELECT layer, feature FROM walk(?, 100, 'dense')", (prompt,)).fetchall())
        found, hits = found + len(ours), hits + len(true.intersection(ours))
    bar = ">= 95 % (reference system: 2.9 %)"
    return Figure(f"{title}: WALK's top 20 among the 100 that contribute most", 100 * hits / found, "%", bar)


def side_by_side(path: Path, title: str) -> list[Figure]:
    """Time for each token and peak memory, walk over dense float32; each in a process of its own, turn by turn."""
    runs = [(outside(path, "walk"), outside(path, "dense")) for _ in range(5)]
    walk, dense = ([run[i] for run in runs] for i in (0, 1))
    time_ratio, memory_ratio = (
        statistics.median(run[key] for run in walk) / statistics.median(run[key] for run in dense)
        for key in ("ms", "peak_mb")
    )
    both = {"walk": walk, "dense": dense, "cache_mb": CACHE_MB}
    return [
        Figure(f"{title}: time per token, walk over dense float32", time_ratio, "ratio", "<= 1.0", both),
        Figure(f"{title}: peak memory, walk over dense float32", memory_ratio, "ratio", "<= 0.7"),
    ]


def outside(path: Path, kind: str) -> dict[str, float]:
    """A decoding process's own times, and its peak memory as the system counts it, mapped files included and apart."""
    command = [sys.executable, "-c", DECODE, str(path), kind, TEXTS["prose"], str(CACHE_MB)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        result: dict[str, float] = json.loads(process.stdout.readline())
        # Not getrusage: its peak counts what the parent held when it forked.
        status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return result | {
        "peak_mb": int(status["VmHWM"].split()[0]) / 1024,
        "file_mb": int(status["RssFile"].split()[0]) / 1024,
    }


if __name__ == "__main__":
    main()
