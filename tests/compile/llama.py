"""llama.cpp, through xllamacpp: what it makes of a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xllamacpp


class Llama:
    """A model that llama.cpp has loaded."""

    def __init__(self, path: Path) -> None:
        settings = xllamacpp.CommonParams()
        settings.model.path, settings.n_ctx, settings.n_parallel, settings.warmup = str(path), 256, 1, False
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
        self._server = xllamacpp.Server(settings)

    def logs(self, ids: Sequence[int], vocabulary: int) -> np.ndarray[Any, Any]:
        """Log-probabilities of the token after ``ids``: float64 [vocab]."""
        # It tells nothing of tokens that are part of a character: it is made to say "a", whatever it would say.
        made = self._complete(list(ids), 1, n_probs=vocabulary, logit_bias=[["a", 1000]])
        found = np.full(vocabulary, -np.inf)
        for token in made["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            found[token["id"]] = token["logprob"]
        return found

    def continued(self, prompt: str, tokens: int) -> str:
        """What it says after a prompt, taking the likeliest token each time."""
        return str(self._complete(prompt, tokens)["choices"][0]["text"])

    def count(self, text: str) -> int:
        """How many tokens it makes of a text."""
        return int(self._complete(text, 1)["usage"]["prompt_tokens"])

    def _complete(self, prompt: list[int] | str, tokens: int, **settings: Any) -> dict[str, Any]:
        made = self._server.handle_completions(
            {"prompt": prompt, "n_predict": tokens, "temperature": 0, "cache_prompt": False, **settings}
        )
        return dict(json.loads(made) if isinstance(made, str) else made)
