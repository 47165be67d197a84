"""Extraction: time over the floor, peak memory over what the embeddings take, file size over the float16 source.

The floor is numpy's float32 time for the token scores alone, plus copying the file's bytes.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from common import Figure, in_a_process, median, model, save

EXTRACT = """
import sys, time, larqldb
start = time.perf_counter()
report = larqldb.extract(sys.argv[1], sys.argv[2])
result = {'seconds': time.perf_counter() - start, 'bytes': report.bytes, 'fallbacks': report.fallbacks,
          'features': report.features}
"""
PROPERTIES = (
    "import sys, larqldb; c = larqldb.connect(sys.argv[1]); result = dict(c.execute('SELECT key, value FROM model'))"
)
REPETITIONS = 3


def floor(features: int, hidden: int, vocabulary: int, file: Path) -> tuple[float, float]:
    """Seconds of the float32 matrix product of every feature with every token, and of copying a file."""
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((vocabulary, hidden), np.float32)
    directions = rng.standard_normal((features // 32, hidden), np.float32)
    product = median(lambda: directions @ embeddings.T, 3) * features / len(directions)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        copy = median(lambda: shutil.copyfile(file, Path(folder) / "copy"), 3)
    return product, copy


def main() -> None:
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for name, title in (("smollm2", "SmolLM2"), ("gemma3", "Gemma 3")):
            source, target = model(name), Path(folder) / f"{name}.vindex"
            runs = []
            for _ in range(REPETITIONS if name == "smollm2" else 1):
                target.unlink(missing_ok=True)
                runs.append(in_a_process(EXTRACT, source, target))
                time.sleep(1)
            run = sorted(runs, key=lambda run: run["seconds"])[len(runs) // 2]
            about = in_a_process(PROPERTIES, target)
            product, copy = floor(run["features"], about["hidden_size"], about["vocabulary"], target)
            embeddings_mb = about["vocabulary"] * about["hidden_size"] * 4 / 2**20
            measured = {"extract_s": run["seconds"], "product_s": product, "copy_s": copy, **run}
            figures += [
                Figure(
                    f"Extract {title}: time over float32 token scores and a copy",
                    run["seconds"] / (product + copy), "ratio", "≤ 1.0, go for ≤ 0.5", measured,
                ),
                Figure(
                    f"Extract {title}: peak memory over the float32 embeddings + 500 MB",
                    run["peak_mb"] / (embeddings_mb + 500), "ratio", "≤ 1.0",
                    {"peak_mb": run["peak_mb"], "embeddings_mb": embeddings_mb},
                ),
                Figure(
                    f"{title}: file size over the weights in float16",
                    run["bytes"] / (about["parameters"] * 2), "ratio", "reported", {"bytes": run["bytes"]},
                ),
            ]  # fmt: skip
    save(__file__, figures)


if __name__ == "__main__":
    main()
