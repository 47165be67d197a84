"""Rotary settings in config.json, in the spellings of several transformers versions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from larqldb.model.config import MOST, ConfigReader
from larqldb.model.network import Rotary

if TYPE_CHECKING:
    from collections.abc import Mapping

SCALINGS = {"default": "default", "linear": "linear", "llama3": "llama3"}
# Phi-3's first files call it su; transformers takes yarn for the same there
PHI3_SCALINGS = {"default": "default", "longrope": "longrope", "su": "longrope", "yarn": "longrope"}


def read_rotary(
    config: ConfigReader,
    parameters: ConfigReader | None,
    theta: float,
    context: int,
    head_dim: int,
    *,
    partial: bool = False,
    scalings: Mapping[str, str] = SCALINGS,
) -> Rotary:
    """Rotary settings from ``rope_scaling`` or ``rope_parameters`` (the same keys); ``theta`` where those are silent.

    ``partial``: whether the family may turn a part of each head. ``scalings`` are the kinds it knows.
    """
    parameters = parameters or ConfigReader({})
    original = config.optional_integer("original_max_position_embeddings", 1, MOST)
    parameters.defaults = {
        "rope_theta": theta,
        "original_max_position_embeddings": context,
        "rope_type": "default",
        "partial_rotary_factor": config.get("partial_rotary_factor") or 1.0,
    }
    before = parameters.get("type")  # the key's name in older files; some have both
    scaling = parameters.choice("type" if before and "rope_type" not in parameters.values else "rope_type", scalings)
    theta = parameters.number("rope_theta", 0.0, 1e12)
    original = original or parameters.integer("original_max_position_embeddings", 1, MOST)
    parameters.get("original_max_position_embeddings")
    width = _width(parameters, head_dim, partial)
    rotary = Rotary(theta, width=width)
    if scaling == "linear":
        rotary = Rotary(theta, scaling, factor=parameters.number("factor", 0.0, 1e6), width=width)
    elif scaling == "llama3":
        low = parameters.number("low_freq_factor", 0.0, 1e6)
        high = parameters.number("high_freq_factor", 0.0, 1e6)
        if high <= low:
            parameters.wrong("high_freq_factor", f"is {high:g}, not above low_freq_factor = {low:g}")
        rotary = Rotary(theta, scaling, parameters.number("factor", 0.0, 1e6), low, high, original, width)
    elif scaling == "longrope":
        rotary = _longrope(parameters, theta, context, original, width, head_dim)
    parameters.refuse_unread()
    return rotary


def _width(parameters: ConfigReader, head_dim: int, partial: bool) -> int | None:
    """How many numbers of a head are turned; None for all."""
    if not partial and parameters.get("partial_rotary_factor") != 1:
        parameters.unsupported("partial_rotary_factor", "in this family larqldb rotates whole heads only")
    share = parameters.number("partial_rotary_factor", 0.0, 1.0)
    width = int(head_dim * share)
    if width < 2 or width % 2:
        parameters.wrong("partial_rotary_factor", f"is {share:g}, which turns {width} of a head's {head_dim} numbers")
    return None if width == head_dim else width


def _longrope(
    parameters: ConfigReader, theta: float, context: int, original: int, width: int | None, head_dim: int
) -> Rotary:
    """LongRoPE with its short factors, for texts up to ``original`` positions.

    In longer texts the long factors hold, at every position, so that what was read before would have to be read again.
    https://arxiv.org/abs/2402.13753, and transformers' ``_compute_longrope_parameters``.
    """
    pairs = (width or head_dim) // 2
    parameters.numbers("long_factor", pairs, 0.0, 1e6)
    short = parameters.numbers("short_factor", pairs, 0.0, 1e6)
    growth = parameters.optional_number("factor", 0.0, 1e6) or context / original
    magnitude = parameters.optional_number("attention_factor", 0.0, 1e6)
    if magnitude is None:
        magnitude = math.sqrt(1 + math.log(growth) / math.log(original)) if growth > 1 and original > 1 else 1.0
    return Rotary(theta, "longrope", context=original, width=width, factors=short, magnitude=magnitude)
