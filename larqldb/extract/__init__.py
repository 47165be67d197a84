"""Model files → rows: one model becomes one vindex.

``sources`` reads models, ``pipeline`` turns one into rows layer by layer, ``top_tokens`` works out what every feature
promotes, ``bands`` and ``associations`` what follows from that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["LEVELS", "ExtractReport", "Progress", "extract"]

LEVELS = ("browse", "inference", "all")

Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """What an extraction wrote.

    ``bytes`` is the file's size, ``seconds`` wall time, ``rounding`` the largest error of rounding a dequantised number
    to the stored dtype (0 where nothing was rounded), ``fallbacks`` how many directions needed every score computed.
    """

    path: str
    architecture: str
    level: str
    fingerprint: str
    layers: int
    features: int
    tokens: int
    tensors: int
    edges: int
    bytes: int
    seconds: float
    rounding: float
    fallbacks: int

    def rows(self) -> Iterator[tuple[str, str, int, int | None]]:
        """What was written, as (what, where, how many, bytes)."""
        yield "vindex", self.path, self.layers, self.bytes
        for what in ("features", "tokens", "tensors", "edges"):
            yield what, self.path, getattr(self, what), None


def extract(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    level: str = "all",
    dtype: str | None = None,
    layers: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> ExtractReport:
    """Turn a model into a vindex at ``path``, which appears there only when it is complete.

    ``source`` is a Hugging Face directory, a GGUF file or a hub id ``org/name[@revision]``. ``level`` is how much is
    stored: "browse" (features, tokens, embeddings, gate vectors), "inference" (whatever the network needs to run) or
    "all" (whatever compiling back needs too). ``dtype`` ("float32", "float16", "bfloat16") is what matrices are stored
    as: by default the source's own, float16 for quantised ones; vectors such as norms keep the source's. ``layers`` is
    the first and last layer whose features are stored. ``progress`` is called with what is being done, the steps done
    and the steps in all.

    Raises SourceNotFound, BadModelFile, BadTensor, UnsupportedModel, OutputExists, OutputBusy, OutputFailed, or
    ProgrammingError for an argument that is none of these.
    """
    from larqldb.extract.pipeline import run  # here, so that importing larqldb stays quick

    return run(source, path, level=level, dtype=dtype, layers=layers, progress=progress or (lambda *_: None))
