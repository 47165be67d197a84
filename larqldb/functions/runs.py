"""Runs of the network on prompts, kept so that joins and further functions over the same prompt do not run it again."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from larqldb.errors import BadPrompt, ProgrammingError
from larqldb.functions.arguments import one_of
from larqldb.model import explain
from larqldb.model.edited import added_name, rows_name
from larqldb.model.observe import Lens, Observer, attention_weights, lens
from larqldb.model.sampling import check_finite
from larqldb.storage.dtypes import as_float32

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from larqldb.functions.edits import Live
    from larqldb.functions.session import Session
    from larqldb.model.runner import Runner

POSITIONS = ("last", "all")
KEPT = 1 / 4  # of the session's cache may be runs
UNKNOWN = frozenset({"<unk>", "[UNK]", "<|unk|>"})  # what vocabularies call a text they have no tokens for


class Run:
    """A prompt's run, seen from the positions asked about: the last one, or all of them.

    ``ids`` are the prompt's tokens, ``positions`` those asked about, ``answers`` int64 [n] the most probable token
    after each of them. Sizes: n positions asked about, s of the prompt.
    """

    def __init__(
        self,
        observer: Observer,
        ids: list[int],
        positions: range,
        edits: Live,
        silenced: Collection[tuple[int, int]] = (),
    ) -> None:
        network = observer.network
        kinds = ["queries", "heads", "attention_output", "ffn_output", "residual"]
        if network.post_norms:
            kinds += ["attention_unnormed", "ffn_unnormed"]
        if len(positions) == 1:  # those of all positions would be most of the memory, and nothing asks for them
            kinds += ["ffn_input", "activations"]
        layers = range(network.layers)
        self._added = {layer: np.array(edits.running(layer, silenced)) for layer in edits.numbers}
        edited = [added_name(layer) for layer, running in self._added.items() if running.any()]
        edited += [rows_name(layer) for layer in edits.rows]
        if len(positions) > 1:
            edited = []
        self.network, self.ids, self.positions = network, ids, positions
        self.runner = observer.runner
        self._arrays = observer.run(
            ids,
            positions,
            at=["embedding", *(f"layers.{layer}.{kind}" for layer in layers for kind in kinds), *edited],
            everywhere=[f"layers.{layer}.{kind}" for layer in layers for kind in ("keys", "values")],
        )
        self._weights: dict[int, NDArray[np.float32]] = {}
        check_finite(self.part("residual", network.layers - 1))

    @property
    def embedding(self) -> NDArray[np.float32]:
        """What enters layer 0: float32 [n, hidden]."""
        return self._arrays["embedding"]

    @property
    def nbytes(self) -> int:
        """The memory it takes."""
        return sum(array.nbytes for array in (*self._arrays.values(), *self._weights.values()))

    def part(self, kind: str, layer: int) -> NDArray[np.float32]:
        """A result of a layer (``graph.observable``): [n, width]; keys and values of all positions, [s, width].

        Those of edits, "added" and "looked_up" (``model.edited``), too.
        """
        return self._arrays[f"layers.{layer}.{kind}"]

    def activations(self, layer: int) -> NDArray[np.float32]:
        """Activations of a layer's features at the one position asked about, those of added features behind its own.

        Those of features that are left out are 0.
        """
        running = self._added.get(layer, np.empty(0, np.bool_))
        added = np.zeros(len(running), np.float32)
        if running.any():
            added[running] = self._arrays[added_name(layer)][0]
        return np.concatenate([np.asarray(self.part("activations", layer)[0], np.float32), added])

    @cached_property
    def answers(self) -> NDArray[np.int64]:
        """The most probable token after each position: int64 [n]."""
        return lens(self.runner, self.part("residual", self.network.layers - 1)).top

    def lens(self, layers: range, tokens: NDArray[np.int64]) -> list[Lens]:
        """The logit lens after each layer, asked for ``tokens`` [n]."""
        if not layers:
            return []
        residuals = np.concatenate([self.part("residual", layer) for layer in layers])
        read, n = lens(self.runner, residuals, np.tile(tokens, len(layers))), len(self.positions)
        return [read.part(slice(i * n, (i + 1) * n)) for i in range(len(layers))]

    def weights(self, layer: int) -> NDArray[np.float32]:
        """How much each head reads from each position: float32 [heads, n, s]."""
        if layer not in self._weights:
            queries, keys = self.part("queries", layer), self.part("keys", layer)
            self._weights[layer] = attention_weights(self.network, layer, queries, keys, self.positions)
        return self._weights[layer]

    def direction(self, session: Session, place: int, token: int) -> NDArray[np.float64]:
        """What parts of the residual at ``positions[place]`` are multiplied by to give a token's logit: [hidden]."""
        residual = self.part("residual", self.network.layers - 1)[place]
        role = "embed" if self.network.tied else "head"
        unembedding = as_float32(session.store.read_rows(role, [token]))[0]
        return explain.direction(self.network, residual, session.norm("final_norm", None), unembedding)

    def constant(self, session: Session, token: int) -> float:
        """What the final norm's bias adds to a token's logit, whatever the prompt; 0 where it has none."""
        bias = session.bias("final_norm", None)
        if bias is None:
            return 0.0
        role = "embed" if self.network.tied else "head"
        return float(as_float32(session.store.read_rows(role, [token]))[0].astype(np.float64) @ bias)

    def towards(
        self, session: Session, block: str, layer: int, place: int, direction: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """A direction [hidden] as a block ("attention", "ffn") sees it, before the norm of what it writes."""
        if not self.network.post_norms:
            return direction
        role = {"attention": "post_attn_norm", "ffn": "post_ffn_norm"}[block]
        unnormed = self.part(f"{block}_unnormed", layer)[place]
        return explain.through_norm(self.network, direction, unnormed, session.norm(role, layer))

    def read_shares(
        self, session: Session, layer: int, place: int, direction: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """What each head adds to the logit by what it reads from each position: float64 [heads, s]."""
        output = session.matrix("attn_o", layer)
        seen = explain.head_towards(self.network, output, self.towards(session, "attention", layer, place, direction))
        return explain.read_shares(self.network, self.weights(layer)[:, place], self.part("values", layer), seen)


class _Kept:
    """A session's latest runs over one state of its network."""

    def __init__(self, runner: Runner) -> None:
        self.observer = Observer(runner)
        self.runs: OrderedDict[tuple[int, ...], Run] = OrderedDict()


_kept: WeakKeyDictionary[Session, _Kept] = WeakKeyDictionary()


def run(session: Session, statement: str, prompt: object, positions: str = "last") -> Run:
    """The run of a prompt; the latest are kept.

    Raises BadPrompt for a prompt that is empty or too long, ProgrammingError for one that is no text, MissingPart where
    the vindex does not hold the network, naming ``statement``, and NotANumber where weights are damaged.
    """
    ids = prompt_ids(session, statement, prompt)
    chosen = range(len(ids)) if one_of(positions, POSITIONS, "positions") == "all" else range(len(ids) - 1, len(ids))
    kept = _current(session)
    key = (*ids, -len(chosen))
    if key not in kept.runs:
        kept.runs[key] = Run(kept.observer, ids, chosen, session.live, session.silenced)
    kept.runs.move_to_end(key)
    held = sum(each.nbytes for each in kept.runs.values())
    while held > KEPT * session.cache_bytes and len(kept.runs) > 1:
        held -= kept.runs.popitem(last=False)[1].nbytes
    return kept.runs[key]


def observer(session: Session) -> Observer:
    """The observer of a session's network as it is now."""
    return _current(session).observer


def _current(session: Session) -> _Kept:
    """What is kept of a session's network as it is now."""
    kept = _kept.get(session)
    if kept is None or kept.observer.runner is not session.runner:  # the network has changed
        kept = _kept[session] = _Kept(session.runner)
    return kept


def prompt_ids(session: Session, statement: str, prompt: object) -> list[int]:
    """The tokens of a prompt for a statement that runs the network; errors as of ``run``."""
    session.require("inference", statement, "attention weights and feature vectors of all layers")
    if not isinstance(prompt, str):
        raise ProgrammingError(f"prompt must be text, not {type(prompt).__name__}")
    if not prompt:
        raise BadPrompt(problem="the prompt is empty", remedy="Give at least one character")
    return session.tokenizer.encode(prompt)


def answer_token(session: Session, prompt: str, answer: object) -> tuple[int, list[str]]:
    """The token that a text begins with when it follows a prompt, and the pieces the whole text is made of.

    A word is taken with a space before it where the prompt does not end in one, unless that takes more tokens. Raises
    ProgrammingError, naming the pieces, where the tokenizer has no token for the text's beginning.
    """
    if not isinstance(answer, str):
        raise ProgrammingError(f"a token to follow must be text, not {type(answer).__name__}")
    if not answer:
        raise BadPrompt(problem="the token to follow is empty", remedy="Give the word whose rank is wanted")
    forms = [answer]
    if answer[0].isalnum() and prompt and not prompt[-1].isspace():
        forms = [f" {answer}", answer]
    ids = min((session.tokenizer.encode(form, special=False) for form in forms), key=len)
    pieces = [_piece(session, token) for token in ids]
    first = session.tokenizer.piece(ids[0]) if ids else ""
    if not ids or first in UNKNOWN or (answer.strip() and not session.tokenizer.text(ids[0]).strip()):
        raise ProgrammingError(f"no token begins {answer!r}: the tokenizer makes {pieces} of it. Follow one of those")
    return ids[0], pieces


def _piece(session: Session, token: int) -> str:
    """What a token adds to a text; its spelling in the vocabulary where that is no text by itself."""
    text = session.tokenizer.text(token)
    return session.tokenizer.piece(token) if not text or "\ufffd" in text else text
