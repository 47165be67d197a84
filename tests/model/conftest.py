"""The small random models of tools/golden_models.py as fixtures; ``tiny`` runs a test once for each of them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from larqldb.model.architectures import resolve, tensors
from larqldb.model.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

    from larqldb.model.network import Network

ROOT = Path(__file__).resolve().parents[2]


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden_models = _load("golden_models")


@dataclass(frozen=True)
class Tiny:
    """A small model: its config, its network, and what transformers recorded for it."""

    name: str
    config: dict[str, Any]
    network: Network
    ids: list[int]
    recorded_tensors: list[str]
    recorded_logits: np.ndarray

    def weights(self, role: str, layer: int | None) -> np.ndarray:
        slot = next(slot for slot in tensors(self.network) if slot.layer == layer and role in slot.layout.roles)
        weight = slot.layout.part(golden_models.weight(self.name, slot.name, slot.shape), role)
        return np.ascontiguousarray(weight.T if role == "down" else weight)

    def runner(self, expose: Iterable[str] = ()) -> Runner:
        return Runner(self.network, self.weights, threads=1, expose=expose)


def _tiny(name: str) -> Tiny:
    config = golden_models.CONFIGS[name]
    with np.load(ROOT / "tests" / "golden" / "tiny.npz") as golden:
        recorded = golden[f"{name}/tensors"].tolist(), golden[f"{name}/logits"]
    return Tiny(name, config, resolve(config), golden_models.token_ids(name), *recorded)


@pytest.fixture(params=sorted(golden_models.CONFIGS))
def tiny(request: pytest.FixtureRequest) -> Tiny:
    """Each small model in turn."""
    return _tiny(request.param)


@pytest.fixture
def tiny_named() -> Callable[[str], Tiny]:
    """One small model by its name."""
    return _tiny
