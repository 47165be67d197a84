"""Looking at and changing what the network computes: behind Connection's capture, logit_lens, ablate, steer and patch.

Arrays are numpy float32, layers and positions count from 0, positions from the end when negative. An intervention acts
on everything that runs the whole network on its connection (INFER, generation, EXPLAIN INFER, TRACE, capture …) until
its ``with`` block ends; nothing is written to the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from larqldb.errors import BadPrompt, ProgrammingError
from larqldb.functions.arguments import one_of
from larqldb.functions.edits import Silence
from larqldb.functions.runs import observer, prompt_ids
from larqldb.model.edited import added_name
from larqldb.model.interventions import Add, Change, Replace, Scale, changed
from larqldb.model.observe import attention_weights, log_probabilities

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from larqldb.functions.session import Session

Layers = int | Iterable[int] | None
Prompt = str | Sequence[int]

# what → the graph's name of it, and whether it is made of heads
PARTS = {
    "residual": ("residual", None),
    "attention": ("attention_output", None),
    "ffn": ("ffn_output", None),
    "ffn_input": ("ffn_input", None),
    "activations": ("activations", None),
    "heads": ("heads", "heads"),
    "queries": ("queries", "heads"),
    "keys": ("keys", "kv_heads"),
    "values": ("values", "kv_heads"),
}
CAPTURED = ("embedding", *PARTS, "attention_weights")
PATCHED = ("residual", "attention", "ffn", "activations", "heads")


def capture(session: Session, prompt: Prompt, layers: Layers, what: str) -> NDArray[np.float32]:
    """One kind of result of a run, see ``Connection.capture``."""
    ids, chosen = _ids(session, "capture", prompt), _layers(session, layers)
    one_of(what, CAPTURED, "what")
    look, every, network = observer(session), range(len(ids)), session.network
    if what == "embedding":
        return look.run(ids, every, everywhere=["embedding"])["embedding"]
    if what == "attention_weights":
        read = {layer: (f"layers.{layer}.queries", f"layers.{layer}.keys") for layer in chosen}
        seen = look.run(ids, every, everywhere=[name for both in read.values() for name in both])
        return np.stack([
            attention_weights(network, layer, seen[queries], seen[keys], every)
            for layer, (queries, keys) in read.items()
        ])  # fmt: skip
    if what == "activations":
        return _activations(session, ids, chosen)
    kind, grouped = PARTS[what]
    names = [f"layers.{layer}.{kind}" for layer in chosen]
    seen = look.run(ids, every, everywhere=names)
    stacked = np.stack([seen[name] for name in names])
    return stacked if grouped is None else stacked.reshape(*stacked.shape[:2], -1, network.head_dim)


def _activations(session: Session, ids: list[int], layers: list[int]) -> NDArray[np.float32]:
    """Activations, a feature's in the column of its number: [layers, s, features]; 0 where a layer has none."""
    own, live = session.network.ffn, session.live
    running = {layer: _running(session, layer) for layer in layers}
    names = {layer: f"layers.{layer}.activations" for layer in layers}
    added = {layer: added_name(layer) for layer, numbers in running.items() if numbers}
    seen = observer(session).run(ids, range(len(ids)), everywhere=[*names.values(), *added.values()])
    width = max(own, *(number + 1 for layer in layers for number in live.numbers.get(layer, ())), 0)
    activations = np.zeros((len(layers), len(ids), width), np.float32)
    for place, layer in enumerate(layers):
        activations[place, :, :own] = seen[names[layer]]
        if layer in added:
            activations[place][:, running[layer]] = seen[added[layer]]
    return activations


def logit_lens(session: Session, prompt: Prompt, layers: Layers, positions: int | Sequence[int]) -> NDArray[np.float32]:
    """Logits after each layer, see ``Connection.logit_lens``."""
    ids, chosen = _ids(session, "logit_lens", prompt), _layers(session, layers)
    places = _places(positions, len(ids))
    names = [f"layers.{layer}.residual" for layer in chosen]
    seen = observer(session).run(ids, range(len(ids)), everywhere=names)
    return np.stack([session.runner.head(seen[name][places]) for name in names])


class Intervention:
    """A change to the network for the length of a ``with`` block; those inside one another add up."""

    def __init__(self, session: Session, changes: Sequence[Change | Silence]) -> None:
        self._session = session
        self._changes = changes
        self._is_active = False

    def __enter__(self) -> Intervention:
        if self._is_active:
            raise ProgrammingError("this intervention is active already")
        self._session.interventions.append(self._changes)
        self._is_active = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        active = self._session.interventions
        if not self._is_active or not active or active[-1] is not self._changes:
            raise ProgrammingError("interventions end in the reverse order of their beginning")
        active.pop()
        self._is_active = False


def ablate(session: Session, layer: int, features: Iterable[int] | None, heads: Iterable[int] | None) -> Intervention:
    """See ``Connection.ablate``."""
    _require(session, "ablate")
    network = session.network
    (number,) = _layers(session, layer)
    changes: list[Change | Silence] = []
    if features is not None:
        chosen = _features(session, features, [number])
        factors = np.ones(network.ffn, np.float32)
        factors[[feature for feature in chosen if feature < network.ffn]] = 0
        if not factors.all():
            changes.append(Scale(f"layers.{number}.activations", factors))
        changes += (Silence(number, feature) for feature in chosen if feature >= network.ffn)
    if heads is not None:
        factors = np.ones((network.heads, network.head_dim), np.float32)
        factors[_numbers(heads, network.heads, "head")] = 0
        changes.append(Scale(f"layers.{number}.heads", factors.reshape(-1)))
    if features is None and heads is None:
        raise ProgrammingError("ablate needs features or heads: ablate(layer=3, features=[17]) or heads=[0, 2]")
    return Intervention(session, changes)


def steer(session: Session, layer: int, vector: ArrayLike, scale: float) -> Intervention:
    """See ``Connection.steer``."""
    _require(session, "steer")
    (number,) = _layers(session, layer)
    added = np.asarray(vector, np.float32) * np.float32(scale)
    if added.shape != (session.network.hidden,):
        raise ProgrammingError(f"the vector has shape {list(added.shape)}, this model's are [{session.network.hidden}]")
    if not np.isfinite(added).all():
        raise ProgrammingError("the vector holds numbers that are not finite")
    return Intervention(session, [Add(f"layers.{number}.residual", added)])


@dataclass(frozen=True)
class Patched:
    """What patching did to the next token: logits float32 [vocab], patched and of the two prompts by themselves."""

    logits: NDArray[np.float32]
    target_logits: NDArray[np.float32]
    source_logits: NDArray[np.float32]
    _session: Session

    def top(self, count: int = 10) -> list[tuple[str, float]]:
        """The most probable tokens after the patched run, with their probabilities."""
        read = log_probabilities(self.logits)
        order = np.lexsort((np.arange(len(read)), -read))[:count].tolist()
        return [(self._session.tokenizer.text(token), float(np.exp(read[token]))) for token in order]


def patch(
    session: Session,
    source_prompt: Prompt,
    target_prompt: Prompt,
    layers: Layers,
    positions: int | Sequence[int],
    what: str,
    *,
    source_positions: int | Sequence[int] | None,
    features: Iterable[int] | None,
    heads: Iterable[int] | None,
) -> Patched:
    """See ``Connection.patch``."""
    one_of(what, PATCHED, "what")
    source, target = _ids(session, "patch", source_prompt), _ids(session, "patch", target_prompt)
    chosen, network = _layers(session, layers), session.network
    into = _places(positions, len(target))
    taken = _places(positions if source_positions is None else source_positions, len(source))
    if len(into) != len(taken):
        raise ProgrammingError(f"{len(taken)} source positions for {len(into)} positions: give as many of both")
    width = {"activations": network.ffn, "heads": network.heads * network.head_dim}.get(what, network.hidden)
    columns = np.ones(width, np.bool_)
    wanted: list[int] | None = None
    if features is not None or heads is not None:
        if what != ("activations" if heads is None else "heads") or None not in (features, heads):
            raise ProgrammingError("features go with what='activations', heads with what='heads'")
        columns[:] = False
        if features is not None:
            wanted = _features(session, features, chosen)
            columns[[feature for feature in wanted if feature < network.ffn]] = True
        else:
            columns.reshape(network.heads, network.head_dim)[_numbers(heads or (), network.heads, "head")] = True
    replaced = {f"layers.{layer}.{PARTS[what][0]}": columns for layer in chosen}
    if what == "activations":
        for layer in chosen:
            numbers = _running(session, layer)
            replaced[added_name(layer)] = np.array([wanted is None or each in wanted for each in numbers], np.bool_)
    replaced = {name: which for name, which in replaced.items() if which.any()}
    seen = observer(session).run(source, range(len(source)), everywhere=list(replaced)) if replaced else {}
    changes = []
    for name, which in replaced.items():
        where = np.zeros((len(target), len(which)), np.bool_)
        values = np.zeros((len(target), len(which)), np.float32)
        where[into], values[into] = which, seen[name][taken]
        changes.append(Replace(name, where, values))
    runner = session.runner
    patched = changed(runner, changes).logits(target)
    return Patched(patched, runner.logits(target), runner.logits(source), session)


def _require(session: Session, what: str) -> None:
    session.require("inference", what, "attention weights and feature vectors of all layers")


def _ids(session: Session, what: str, prompt: Prompt) -> list[int]:
    """The tokens of a prompt; token ids stand for themselves."""
    if isinstance(prompt, str):
        return prompt_ids(session, what, prompt)
    _require(session, what)
    ids = [int(token) for token in prompt]
    if not ids:
        raise BadPrompt(problem="the prompt is empty", remedy="Give at least one token")
    return ids


def _layers(session: Session, layers: Layers) -> list[int]:
    """Layers that the model has, in the order given; all of them for None."""
    if layers is None:
        return list(session.layers)
    given = [layers] if isinstance(layers, int | np.integer) else list(layers)
    for layer in given:
        session.layer_range(int(layer), int(layer))
    if not given:
        raise ProgrammingError("give at least one layer")
    return [int(layer) for layer in given]


def _places(positions: int | Sequence[int], count: int) -> list[int]:
    """Positions from the start; ProgrammingError outside the prompt."""
    given = [positions] if isinstance(positions, int | np.integer) else list(positions)
    outside = next((place for place in given if not -count <= place < count), None)
    if outside is not None:
        raise ProgrammingError(f"there is no position {outside}: the prompt has positions 0-{count - 1}")
    if not given:
        raise ProgrammingError("give at least one position")
    return [int(place) % count for place in given]


def _running(session: Session, layer: int) -> list[int]:
    """The numbers of a layer's added features that the network runs, in the order of their results."""
    silenced = session.silenced
    return [number for number in session.live.numbers.get(layer, ()) if (layer, number) not in silenced]


def _features(session: Session, given: Iterable[int], layers: Sequence[int]) -> list[int]:
    """Numbers of features, the base's own or added ones, that each of some layers has; ProgrammingError for others."""
    numbers, own = [int(number) for number in given], session.network.ffn
    for layer in layers:
        added = sorted(session.live.numbers.get(layer, ()))
        outside = next((number for number in numbers if number not in range(own) and number not in added), None)
        if outside is not None:
            behind = f", layer {layer} also {', '.join(map(str, added))}" if added else ""
            raise ProgrammingError(f"there is no feature {outside}: a layer has features 0-{own - 1}{behind}")
    return numbers


def _numbers(given: Iterable[int], count: int, what: str) -> list[int]:
    """Features or heads that a layer has."""
    numbers = [int(number) for number in given]
    outside = next((number for number in numbers if not 0 <= number < count), None)
    if outside is not None:
        raise ProgrammingError(f"there is no {what} {outside}: a layer has {what}s 0-{count - 1}")
    return numbers
