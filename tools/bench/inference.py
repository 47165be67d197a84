"""Speed and fidelity of inference, beside llama.cpp and transformers on the same machine in the same minutes.

    python tools/bench/inference.py --llama PYTHON [--torch PYTHON] [--rounds N]

``--llama`` is a Python that has xllamacpp, ``--torch`` one with torch, transformers, gguf and accelerate; larqldb
runs in the Python this is started with. Both sides stay loaded and take turns, two threads each, one text, greedy: 64
tokens after a short prompt, and a prompt of about 512 tokens. larqldb holds weights in 8 bits, for SmolLM2 also in 4,
which takes its Q4_1 blocks unchanged. A first token is timed in a process of its own from before the file is opened,
in float32, which needs the least preparation; `import larqldb` and `import xllamacpp` come before. Fidelity is measured
against float32 on the texts of tools/golden_prompts.py, 250 positions each. What bounds decoding is the bytes of the
weights that a token reads, over what two threads can read from memory in a second.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT), str(ROOT / "tools")]

PRECISIONS = {"smollm2": ("int8", "int4"), "gemma3": ("int8",)}
BITS = {"int8": 9, "int4": 6}  # a weight's, its share of the block's scale (and offset) included
TOKENS, THREADS = 64, 2
PROMPT = "Once upon a time, in a small village by the sea,"
LONG = "The quick brown fox jumps over the lazy dog and runs into the old forest. " * 32  # about 512 tokens


def larqldb_worker(path: str, precision: str) -> None:
    """Answers requests on standard input, one JSON object a line."""
    import larqldb

    with contextlib.closing(larqldb.connect(path, read_only=True, precision=precision)) as conn:

        def first() -> float:
            began = time.perf_counter()
            with contextlib.closing(larqldb.connect(path, read_only=True, precision=precision)) as other:
                next(other.generate(PROMPT, max_tokens=1, ignore_eos=True), None)
            return time.perf_counter() - began

        def decode() -> float:
            decoder = conn.session.runner.decoder()
            logits = decoder.read(conn.session.tokenizer.encode(PROMPT))
            began = time.perf_counter()
            for _ in range(TOKENS):
                logits = decoder.read([int(logits.argmax())])
            return TOKENS / (time.perf_counter() - began)

        def prefill() -> float:
            decoder = conn.session.runner.decoder()
            ids = conn.session.tokenizer.encode(LONG)
            began = time.perf_counter()
            decoder.read(ids)
            return len(ids) / (time.perf_counter() - began)

        def numbers() -> float:
            shapes = conn.execute("SELECT shape FROM tensors").fetchall()
            return float(sum(math.prod(json.loads(shape)) for (shape,) in shapes))

        _serve({"first": first, "decode": decode, "prefill": prefill, "numbers": numbers})


def llama_worker(path: str) -> None:
    """The same for llama.cpp."""
    import xllamacpp

    def server() -> Any:
        settings = xllamacpp.CommonParams()
        settings.model.path, settings.n_ctx, settings.n_parallel, settings.warmup = path, 1024, 1, False
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = THREADS
        return xllamacpp.Server(settings)

    def complete(model: Any, prompt: Any, tokens: int) -> dict[str, Any]:
        request = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
        made = model.handle_completions(request)
        return dict(json.loads(made) if isinstance(made, str) else made)["timings"]

    kept: list[Any] = []

    def model() -> Any:
        if not kept:
            kept.append(server())
        return kept[0]

    def first() -> float:
        began = time.perf_counter()
        complete(server(), PROMPT, 1)
        return time.perf_counter() - began

    def prefill() -> float:
        timings = complete(model(), LONG, 1)
        return float(timings["prompt_n"] / timings["prompt_ms"] * 1000)

    def decode() -> float:
        return float(complete(model(), PROMPT, TOKENS)["predicted_per_second"])

    _serve({"first": first, "decode": decode, "prefill": prefill})


def torch_worker(path: str) -> None:
    """Decoding with transformers in float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(THREADS)
    folder, file = os.path.split(path)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).eval()
    ids = AutoTokenizer.from_pretrained(folder, gguf_file=file)(PROMPT, return_tensors="pt").input_ids

    def decode() -> float:
        with torch.no_grad():
            state = model(ids, use_cache=True)
            began = time.perf_counter()
            for _ in range(TOKENS):
                token = state.logits[:, -1:].argmax(-1)
                state = model(token, past_key_values=state.past_key_values, use_cache=True)
            return TOKENS / (time.perf_counter() - began)

    _serve({"decode": decode})


def _serve(requests: dict[str, Any]) -> None:
    """Run what standard input asks for; print what it gives."""
    print("ready", flush=True)
    for line in sys.stdin:
        print(f"\n@ {requests[line.strip()]()}", flush=True)


class Worker:
    """A process that answers requests."""

    def __init__(self, python: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [python, __file__, "--worker", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def ask(self, request: str) -> float:
        """The number it answers."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{request}\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("@ "):
                return float(line[2:])
        raise SystemExit(f"the process that was asked for {request} ended")


WORKERS = {"larqldb": larqldb_worker, "llama": llama_worker, "torch": torch_worker}


def fidelity(path: Path) -> dict[str, dict[str, float]]:
    """By precision: mean KL divergence from float32 in nats, and the share of positions with the same first token."""
    import numpy as np
    from golden_prompts import MODULE, RECETTE, STORY

    import larqldb

    def logs(logits: Any) -> Any:
        wide = logits.astype(np.float64) - logits.max(-1, keepdims=True)
        return wide - np.log(np.exp(wide).sum(-1, keepdims=True))

    expected: list[Any] = []
    found: dict[str, dict[str, float]] = {}
    for precision in ("float32", "int8", "int4"):
        with contextlib.closing(larqldb.connect(path, read_only=True, precision=precision)) as conn:
            session = conn.session
            texts = [session.tokenizer.encode(text)[:250] for text in (STORY, RECETTE, MODULE)]
            made = [logs(session.runner.all_logits(ids)) for ids in texts]
        if precision == "float32":
            expected = made
            continue
        pairs = list(zip(expected, made, strict=True))
        divergences = np.concatenate([(np.exp(p) * (p - q)).sum(-1) for p, q in pairs])
        agrees = np.concatenate([p.argmax(-1) == q.argmax(-1) for p, q in pairs])
        found[precision] = {"kl": float(divergences.mean()), "top1": float(agrees.mean())}
    return found


def bandwidth() -> float:
    """Bytes a second that two threads read."""
    import threading

    import numpy as np

    array = np.ones(1 << 26, np.float32)
    times = []
    for _ in range(7):
        threads = [threading.Thread(target=part.max) for part in np.array_split(array, THREADS)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        times.append(time.perf_counter() - began)
    return float(array.nbytes / min(times))


def main() -> None:
    """Take turns, and save the medians of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama", required=True, metavar="PYTHON")
    parser.add_argument("--torch", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--print", action="store_true", help="show the figures and save nothing")
    options = parser.parse_args()

    from common import Figure, model, save

    figures: list[Figure] = []
    titles = {"smollm2": "SmolLM2", "gemma3": "Gemma 3"}
    with tempfile.TemporaryDirectory() as scratch:
        for name, title in titles.items():
            gguf, path = model(name), Path(scratch) / f"{name}.vindex"
            code = "import sys, larqldb; larqldb.extract(sys.argv[1], sys.argv[2])"
            subprocess.run([sys.executable, "-c", code, str(gguf), str(path)], check=True)
            with contextlib.ExitStack() as open_workers:
                start = open_workers.enter_context
                sides = {kind: start(Worker(sys.executable, "larqldb", str(path), kind)) for kind in PRECISIONS[name]}
                sides["llama.cpp"] = start(Worker(options.llama, "llama", str(gguf)))
                if options.torch and name == "smollm2":
                    sides["transformers"] = start(Worker(options.torch, "torch", str(gguf)))
                numbers = sides["int8"].ask("numbers")
                measured: dict[str, dict[str, list[float]]] = {side: {"decode": [], "prefill": []} for side in sides}
                for turn in range(options.rounds + 1):  # the first warms up
                    for side, worker in sides.items():
                        for what in ("decode", "prefill") if side != "transformers" else ("decode",):
                            value = worker.ask(what)
                            if turn:
                                measured[side][what].append(value)
            middle = {side: {what: statistics.median(v) for what, v in m.items() if v} for side, m in measured.items()}
            for kind in PRECISIONS[name]:
                for what, at in (("decode", ""), ("prefill", " of 512 tokens")):
                    ratio = middle[kind][what] / middle["llama.cpp"][what]
                    sources = {side: measured[side][what] for side in (kind, "llama.cpp")}
                    text = f"{title}: {what}{at}, {kind}, tokens/s over llama.cpp's"
                    figures.append(Figure(text, ratio, "ratio", "≥ 1.0, go for ≥ 1.5", sources))
                bound = bandwidth() / (numbers * BITS[kind] / 8)
                figures.append(
                    Figure(
                        f"{title}: decode, {kind}, over what memory allows", middle[kind]["decode"] / bound, "ratio",
                        "reported", {"bound_tokens_per_second": bound},
                    )
                )  # fmt: skip
            if "transformers" in sides:
                ratio = middle["int8"]["decode"] / middle["transformers"]["decode"]
                text = f"{title}: decode, int8, over transformers in float32"
                figures.append(Figure(text, ratio, "ratio", "≥ 3, go for ≥ 5", measured["transformers"]))
            if name == "smollm2":
                cold: dict[str, list[float]] = {"larqldb": [], "llama.cpp": []}
                for _ in range(2 * options.rounds):
                    for side, python, arguments in (
                        ("larqldb", sys.executable, ("larqldb", str(path), "float32")),
                        ("llama.cpp", options.llama, ("llama", str(gguf))),
                    ):
                        with Worker(python, *arguments) as worker:
                            cold[side].append(worker.ask("first"))
                a, b = (statistics.median(times) for times in cold.values())
                text = f"{title}: first token of a process, over llama.cpp's"
                figures.append(Figure(text, a / b, "ratio", "≤ 1.5, go for ≤ 1.0", cold))
            for precision, found in fidelity(path).items():
                text = f"{title}: KL of {precision} to float32"
                figures.append(Figure(text, found["kl"], "nats", "reported", found))
                text = f"{title}: {precision} and float32 agree on the most probable token"
                figures.append(Figure(text, found["top1"], "share", "reported", {}))
    if options.print:
        for figure in figures:
            print(f"{figure.figure}: {figure.value:.4g} {figure.unit} ({figure.bar}) {figure.measured}")
    else:
        save(__file__, figures)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        WORKERS[sys.argv[2]](*sys.argv[3:])
    else:
        main()
