"""A plain way of composing for the tests of what stands around it, and connections to tiny models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import larqldb
from larqldb.edit import editor
from larqldb.edit.compose import Task
from larqldb.model.edited import AddedFeature, KeyRow


def _looked(model: Any, wordings: Any, layer: int) -> tuple[list[list[int]], Any]:
    name = f"layers.{layer}.ffn_input"
    looking = model.runner.changed(lambda _: None, {}, expose=[name])
    ids = [model.tokenizer.encode(text) for text in wordings]
    return ids, lambda more: looking.observe(more)[name][-1]


def compose(model: Any, tasks: Any) -> list[tuple[AddedFeature, ...]]:
    """One feature for each token of the target: it answers to the input after the first wording and what went before.

    What it writes is the token's row of the head, strong enough for a model of random weights. No siblings are spared.
    """
    return [_compose(model, task) for task in tasks]


def _compose(model: Any, task: Task) -> tuple[AddedFeature, ...]:
    layer = model.network.layers - 1 if task.layer is None else task.layer
    ids, look = _looked(model, task.how.prompts[:1], layer)
    made, known = [], list(ids[0])
    for token in model.tokenizer.encode(f" {task.fact.target}", special=False):
        x = look(known).astype(np.float64)
        gate = (30 * x / (x @ x)).astype(np.float32)
        down = model.head[token].astype(np.float64)
        down *= (100 if task.alpha is None else task.alpha) / (30 * np.linalg.norm(down))
        up = (x / (x @ x)).astype(np.float32) if model.network.gated else None
        made.append(AddedFeature(layer, gate, up, down.astype(np.float32)))
        known.append(token)
    return tuple(made)


def suppress(model: Any, tasks: Any) -> list[tuple[AddedFeature, ...]]:
    """The same with the other sign, for the first token."""
    features = [_compose(model, task)[0] for task in tasks]
    return [(AddedFeature(one.layer, one.gate, one.up, -one.down),) for one in features]


def knn(model: Any, tasks: Any) -> list[tuple[KeyRow, ...]]:
    """A row for the first token on the first wording."""
    rows = []
    for task in tasks:
        layer = model.network.layers - 1 if task.layer is None else task.layer
        ids, look = _looked(model, task.how.prompts[:1], layer)
        token = model.tokenizer.encode(f" {task.fact.target}", special=False)[0]
        value = model.head[token] * (100 / np.linalg.norm(model.head[token]))
        rows.append((KeyRow(layer, look(ids[0]), value.astype(np.float32), 0.99),))
    return rows


@pytest.fixture(autouse=True)
def plain_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = SimpleNamespace(Task=Task, compose=compose, suppress=suppress, knn=knn)
    monkeypatch.setattr(editor, "compose", plain)


@pytest.fixture
def conn(tiny_vindex: Path) -> Iterator[larqldb.Connection]:
    connection = larqldb.connect(tiny_vindex)
    yield connection
    connection.close()
