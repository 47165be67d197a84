"""What other programs make of compiled models: log-probabilities of transformers and llama.cpp, each in its own Python.

    python tools/others.py transformers FOLDER IDS OUT      needs torch and transformers
    python tools/others.py llama FILE IDS OUT               needs xllamacpp

IDS is a JSON file of token ids, a list for each text; OUT gets an array for each, float32: ``transformers`` after
every token [positions, vocab], ``llama`` after the last one [1, vocab]. Nothing of larqldb is imported.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
THREADS = 2


def ask(python: str, program: str, model: Path, texts: Sequence[Sequence[int]]) -> list[Array]:
    """Log-probabilities for each of several texts (token ids), by a program that ``python`` has."""
    with tempfile.TemporaryDirectory() as folder:
        ids, out = Path(folder, "ids.json"), Path(folder, "logs.npz")
        ids.write_text(json.dumps([list(text) for text in texts]))
        command = [python, __file__, program, str(model), str(ids), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{program} failed on {model}:\n{done.stderr[-2000:]}")
        with np.load(out) as made:
            return [made[f"arr_{number}"] for number in range(len(texts))]


def divergence(one: Array, other: Array) -> Array:
    """KL(one ‖ other) in nats at each position, of log-probabilities [positions, vocab]."""
    wide = one.astype(np.float64)
    kl: Array = np.sum(np.exp(wide) * (wide - other), axis=-1)
    return kl


def _transformers(folder: str, texts: list[list[int]]) -> list[Array]:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(THREADS)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        return [model(torch.tensor([ids])).logits[0].double().log_softmax(-1).float().numpy() for ids in texts]


def _llama(file: str, texts: list[list[int]]) -> list[Array]:
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.n_parallel, settings.warmup = file, 1024, 1, False
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = THREADS
    server = xllamacpp.Server(settings)
    found = []
    for ids in texts:
        # More than the vocabulary asks for all of it. It tells nothing of tokens that are part of a character: it is
        # made to say "a", whatever it would say.
        request = {"prompt": ids, "n_predict": 1, "temperature": 0, "n_probs": 1 << 20, "cache_prompt": False}
        made = server.handle_completions({**request, "logit_bias": [["a", 1000]]})
        made = json.loads(made) if isinstance(made, str) else made
        tokens = made["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        logs = np.full(1 + max(token["id"] for token in tokens), -np.inf, np.float32)
        for token in tokens:
            logs[token["id"]] = token["logprob"]
        found.append((logs - np.logaddexp.reduce(logs.astype(np.float64)))[None])  # its sum in float32 is off by 1e-4
    return found


if __name__ == "__main__":
    program, model, ids, out = sys.argv[1:]
    run = {"transformers": _transformers, "llama": _llama}[program]
    np.savez(out, *run(model, json.loads(Path(ids).read_text())))
