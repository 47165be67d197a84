"""Compiling: time over copying the bytes, peak memory, and how far the result is from the live edited vindex.

    python tools/bench/compile.py --torch PYTHON --llama PYTHON [SMOLLM2.vindex [GEMMA3.vindex]]

``--torch`` is a Python that has torch and transformers, ``--llama`` one that has xllamacpp; larqldb runs in the Python
this is started with. Vindexes are extracted where none are named; those named are copied.

Speed: compiling, in a new process each time, and copying what it wrote take turns. Timed is the statement COMPILE, the
first of its process, on a connection that has run a statement of LQL before (what a process pays for importing larqldb,
connecting and that statement is in ``first_use_s``), with the bytecode of Python's modules at hand, as where larqldb
is installed. Copying is ``shutil.copyfile`` of each file. Both read what the system has in memory, begin with nothing
waiting to be written, and end when the bytes are on disk.

KL is between the vindex with an inserted fact and the compiled model, on the fact's wordings and the texts of
tools/golden_prompts.py: in transformers after every token; in llama.cpp after the last one, for as many texts as
``READ`` allows.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import numpy as np
from common import ROOT, Figure, in_a_process, model, save

sys.path += [str(ROOT), str(ROOT / "tools")]

from golden_prompts import PROMPTS
from others import ask, divergence

import larqldb
from larqldb.edit.asking import asking
from larqldb.model.observe import log_probabilities
from larqldb.storage.outputs import sync

FACT = ("Atlantis", "capital", "Poseidon")
KEPT = "The capital of France is"
COMPILE = """
import sys, time
start = time.perf_counter()
import larqldb
connection = larqldb.connect(sys.argv[1], read_only=True)
connection.execute('STATS').fetchall()
begin = time.perf_counter()
rows = connection.execute('COMPILE CURRENT INTO MODEL ?', (sys.argv[2],)).fetchall()
result = {'seconds': time.perf_counter() - begin, 'first_use': begin - start, 'bytes': rows[0][3]}
"""
SIZES = """
import math, json, sys, larqldb
tensors = larqldb.connect(sys.argv[1], read_only=True).execute('SELECT layer, dtype, shape FROM tensors').fetchall()
sizes = [(layer, math.prod(json.loads(shape)) * (4 if dtype == 'F32' else 2)) for layer, dtype, shape in tensors]
result = {'layer': sum(size for layer, size in sizes if layer == 0), 'largest': max(size for _, size in sizes)}
"""
TEXTS = 24  # of the golden prompts that are compared
READ = 2_500_000  # probabilities that llama.cpp is asked for: it tells them as text, a vocabulary's in seconds


def copied(source: Path, target: Path) -> float:
    """Seconds to copy a folder's files and have them on disk."""
    start = time.perf_counter()
    target.mkdir()
    for file in source.iterdir():
        shutil.copyfile(file, target / file.name)
        sync(target / file.name)
    return time.perf_counter() - start


def speed(title: str, vindex: Path, folder: Path, rounds: int) -> list[Figure]:
    runs, copies = [], []
    out, copy = folder / "out", folder / "copy"
    with patch.dict(os.environ, PYTHONPYCACHEPREFIX=str(folder / "bytecode"), PYTHONDONTWRITEBYTECODE=""):
        in_a_process(COMPILE, vindex, out)  # writes the bytecode, and has the file read
        shutil.rmtree(out)
        for _ in range(rounds):
            os.sync()
            runs.append(in_a_process(COMPILE, vindex, out))
            os.sync()
            copies.append(copied(out, copy))
            shutil.rmtree(out)
            shutil.rmtree(copy)
    seconds, first, copying = (
        statistics.median(each)
        for each in ([run["seconds"] for run in runs], [run["first_use"] for run in runs], copies)
    )
    sizes = in_a_process(SIZES, vindex)
    bound = (sizes["layer"] + sizes["largest"]) / 2**20 + 300
    peak = max(run["peak_mb"] for run in runs)
    return [
        Figure(
            f"Compile {title} to safetensors: time over copying the bytes", seconds / copying, "ratio",
            "≤ 2, go for 1.2",
            {"compile_s": seconds, "copy_s": copying, "first_use_s": first, "bytes": runs[0]["bytes"],
             "compile_each": [run["seconds"] for run in runs], "copy_each": copies},
        ),
        Figure(
            f"Compile {title} to safetensors: peak memory over one layer + the largest tensor + 300 MB", peak / bound,
            "ratio", "≤ 1.0", {"peak_mb": peak, "bound_mb": bound},
        ),
    ]  # fmt: skip


def fidelity(title: str, vindex: Path, folder: Path, torch: str, llama: str) -> list[Figure]:
    with closing(larqldb.connect(vindex)) as connection:
        connection.reports = False  # on what else the edit changes
        connection.execute("INSERT INTO EDGES (entity, relation, target) VALUES (?, ?, ?)", FACT)
        connection.reports = True  # rounded facts are asked again
        session = connection.session
        wordings = asking(session.db, FACT[0], FACT[1]).prompts
        texts = (wordings[0], KEPT, *PROMPTS[:TEXTS], *wordings[1:])
        ids = [session.tokenizer.encode(text) for text in texts]
        live = [log_probabilities(session.runner.all_logits(each)).astype(np.float32) for each in ids]
        target = session.tokenizer.encode(f" {FACT[2]}", special=False)[0]
        found = []
        for target_name, clauses, program, python, bar in (
            ("model", "QUANT F32", "transformers", torch, "≤ 1e-6"),
            ("model.gguf", "QUANT F32", "llama", llama, "reported"),
            ("f16.gguf", "QUANT F16", "llama", llama, "reported"),
            ("q8_0.gguf", "QUANT Q8_0", "llama", llama, "≤ 0.01"),
        ):
            out = folder / target_name
            rows = connection.execute(f"COMPILE CURRENT INTO MODEL ? {clauses}", (str(out),)).fetchall()
            asked = ids if program == "transformers" else ids[: READ // session.network.vocab]
            others = ask(python, program, out, asked)
            kl = np.concatenate(
                [divergence(one[-len(other) :], other) for one, other in zip(live, others, strict=False)]
            )
            fact, kept = (int(other[-1].argmax()) for other in others[:2])
            measured = {
                "positions": len(kl), "largest": float(kl.max()), "says the fact": fact == target,
                "keeps Paris": kept == int(live[1][-1].argmax()), "bytes": rows[0][3],
            }  # fmt: skip
            name = "transformers" if program == "transformers" else "llama.cpp"
            kind = clauses.split()[-1].lower().replace("f32", "float32")
            found.append(
                Figure(f"{title}, edited and compiled: KL of {kind} in {name}", float(kl.mean()), "nats", bar, measured)
            )
            shutil.rmtree(out) if out.is_dir() else out.unlink()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", required=True, metavar="PYTHON")
    parser.add_argument("--llama", required=True, metavar="PYTHON")
    parser.add_argument("vindexes", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--print", action="store_true", help="show the figures and save nothing")
    given = parser.parse_args()
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place, (key, title) in enumerate({"smollm2": "SmolLM2", "gemma3": "Gemma 3"}.items()):
            if given.vindexes and place >= len(given.vindexes):
                continue
            vindex = folder / f"{key}.vindex"
            if given.vindexes:
                shutil.copyfile(given.vindexes[place], vindex)
            else:
                in_a_process("import sys, larqldb; larqldb.extract(*sys.argv[1:]); result = {}", model(key), vindex)
            figures += speed(title, vindex, folder, given.rounds)
            figures += fidelity(title, vindex, folder, given.torch, given.llama)
            vindex.unlink()
    if given.print:
        print(*figures, sep="\n")
    else:
        save(__file__, figures)


if __name__ == "__main__":
    main()
