"""The way of a token through the layers as a picture: lines of text, or a PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from larqldb.errors import NotSupportedError, OutputFailed
from larqldb.storage.outputs import check_folder

CELLS = 24  # characters of a full bar
EIGHTHS = " ▏▎▍▌▋▊▉█"

Step = tuple[int, int, float, str]  # layer, rank, probability, what the logit lens reads after the layer


def as_text(token: str, steps: Sequence[Step], vocabulary: int, out: IO[str]) -> None:
    """A line for each layer: the rank on a logarithmic scale (full: first), the probability, the lens's own token."""
    out.write(f"{token!r} by layer\n{'layer':>5}  {'rank':>7}  {'':{CELLS}}  {'probability':{CELLS}}         lens\n")
    for layer, rank, probability, lens in steps:
        near = 1 - math.log(rank) / math.log(max(2, vocabulary))
        out.write(f"{layer:5}  {rank:7,}  {bar(near)}  {bar(probability)} {probability:7.4f}  {lens!r}\n")


def bar(share: float) -> str:
    """A bar of CELLS characters, filled to an eighth of one."""
    filled = round(max(0.0, min(1.0, share)) * CELLS * 8)
    whole, part = divmod(filled, 8)
    return ("█" * whole + (EIGHTHS[part] if part else "")).ljust(CELLS)


def as_png(token: str, prompt: str, steps: Sequence[Step], path: Path) -> None:
    """Rank (logarithmic, first on top) and probability by layer, drawn with matplotlib.

    Raises NotSupportedError where matplotlib is not installed, OutputFailed where the path cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise NotSupportedError("--png needs matplotlib. Install it with: pip install 'larqldb[plot]'") from None
    layers, ranks, probabilities, _ = zip(*steps, strict=True)
    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    figure.suptitle(f"{token!r} after {prompt!r}")
    above.plot(layers, ranks, marker="o", markersize=3)
    above.set(yscale="log", ylabel="rank")
    above.invert_yaxis()
    below.plot(layers, probabilities, marker="o", markersize=3, color="tab:orange")
    below.set(ylim=(0, 1), ylabel="probability", xlabel="layer")
    check_folder(path)
    try:
        figure.savefig(path, format="png", dpi=150)
    except OSError as problem:
        raise OutputFailed(path=path, problem=problem.strerror or str(problem)) from None
