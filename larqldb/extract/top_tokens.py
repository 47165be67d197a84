"""The exact top tokens of many directions: an 8-bit matrix product proposes, float64 decides.

A direction d scores a token by E·d. All scores in float32 cost 2·V·H operations a direction; here the embeddings are
centred, rotated and rounded to 8 bits, which ONNX Runtime multiplies several times faster. With Ê, d̂ the rounded
values, |E·d − Ê·d̂| ≤ ‖E−Ê‖·‖d‖ + ‖Ê‖·‖d−d̂‖ (Cauchy–Schwarz), so approximate score plus bound is never below the
true score. The tokens with the largest sums are rescored exactly; if the last of them could still hide a better
token, the direction is computed in full. Nothing is missed, whatever the weights.

Centring takes the common part out of every score (it ranks nothing); a random rotation spreads outlying coordinates,
which halves the rounding error (the idea of QuIP, https://arxiv.org/abs/2307.13304).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Floats = NDArray[np.float32]
Scores = NDArray[np.float64]
Ids = NDArray[np.int64]

# Tokens proposed for each direction: on SmolLM2 and Gemma 3 about 50 suffice for ten, under 2 % need more than 128.
CANDIDATES = 12  # for each token wanted, and
SPARE = 8
FIRST_LOOK = 3  # of them for each token wanted, rescored before the rest is judged
GROUP = 8  # tokens, of which only the best score is looked at first
BLOCK_BYTES = 1 << 25  # of float32 scores at a time
BRUTE_FORCE = 1 << 12  # vocabularies up to this size are not worth preparing
PART_BYTES = 1 << 22  # of float32 embeddings at a time
PAIRS = 1 << 12  # of token and direction, in float64 at a time
EPS32 = 2.0**-24  # unit roundoff of float32


class TopTokens:
    """Finds the k tokens with the largest E·d, ties by lower row; exact as float64 evaluates the sums.

    ``embeddings`` is [tokens, hidden] in float16, bfloat16 or float32 and is kept as it is; preparing it takes one to
    two bytes a number more. ``norms`` are the tokens' L2 norms [tokens]; ``fallbacks`` counts the directions that had
    to be computed in full.
    """

    def __init__(self, embeddings: Array, k: int = 10) -> None:
        self.tokens, self.hidden = embeddings.shape
        self.k = min(k, self.tokens)
        self.fallbacks = 0
        self._embeddings = np.ascontiguousarray(embeddings)
        self._values = _ort_value(self._embeddings)
        self._gather = _gather_session(self._values.element_type())
        self.norms = np.empty(self.tokens, np.float32)
        for part in self._parts():
            self.norms[part] = np.linalg.norm(self._rows(np.arange(part.start, part.stop)), axis=1)
        self._block = max(1, BLOCK_BYTES // 4 // self.tokens)
        if self.tokens > BRUTE_FORCE:
            self._prepare()

    def search(self, directions: Floats) -> tuple[Ids, Scores]:
        """The best tokens of each direction: ids [directions, k] and scores [directions, k], best first."""
        ids = np.tile(np.arange(self.k), (len(directions), 1))  # of zeros, such as pad a layer: all tokens are equal
        scores = np.zeros((len(directions), self.k))
        open_ = np.asarray(directions.any(axis=1))
        if self.tokens > BRUTE_FORCE:
            norms = np.linalg.norm(directions, axis=1)
            usable = np.flatnonzero(norms)
            rotated = directions[usable] / norms[usable, None] @ self._rotation
            scale = np.abs(rotated).max(axis=1, initial=1e-30) / 127
            order = np.argsort(scale)  # directions alike in scale share a block, so that one bias fits them closely
            for start in range(0, len(usable), self._block):
                part = order[start : start + self._block]
                which = usable[part]
                proven, found_ids, found_scores = self._propose(
                    directions[which], norms[which], rotated[part], scale[part]
                )
                done = which[proven]
                ids[done], scores[done], open_[done] = found_ids, found_scores, False
            self.fallbacks += int(open_.sum())
        left = np.flatnonzero(open_)
        for start in range(0, len(left), self._block):
            which = left[start : start + self._block]
            ids[which], scores[which] = self._compute(directions[which])
        return ids, scores

    def _propose(
        self, directions: Floats, norms: Floats, rotated: Floats, scale: Floats
    ) -> tuple[NDArray[np.bool_], Ids, Scores]:
        """Which directions were settled from the candidates [B], and their ids and scores [settled, k]."""
        rounded = np.rint(rotated / scale[:, None])
        residual = np.linalg.norm(rotated - rounded * scale[:, None], axis=1)
        bias = self._errors * (1 / scale).max() + self._rounded_norms * (residual / scale).max()  # [V]
        quantised = (rounded + 128).astype(np.uint8)
        upper, found = self._proposals(quantised, bias)  # [B, C] each, best first
        exact = np.full(upper.shape, -np.inf, np.float32)
        look = min(FIRST_LOOK * self.k + 2, upper.shape[1])
        rows = self._rows(found[:, :look])  # [B, look, H]
        exact[:, :look] = np.einsum("bch,bh->bc", rows, directions)
        margin = self._margin(norms)
        least = self._kth(exact[:, :look]) - margin
        # The same threshold on the scale of `upper`: centred, for a unit direction, in units of its rounding step.
        threshold = (least / norms - directions @ self._centre / norms) / scale
        needed = upper >= threshold[:, None]
        proven = ~needed[:, -1]
        needed[:, :look] = False
        needed[~proven] = False
        row, column = np.nonzero(needed)
        for start in range(0, len(row), PAIRS):
            r, c = row[start : start + PAIRS], column[start : start + PAIRS]
            exact[r, c] = np.einsum("ph,ph->p", self._rows(found[r, c]), directions[r])
        exact, found = exact[proven], found[proven]
        close = exact >= (self._kth(exact) - 2 * margin[proven])[:, None]
        row, column = np.nonzero(close)
        ids, scores = self._rank(row, found[row, column], directions[proven])
        return proven, ids, scores

    def _compute(self, directions: Floats) -> tuple[Ids, Scores]:
        """Every score of a few directions in float32, the best of them in float64: ids and scores [B, k]."""
        scores = np.empty((len(directions), self.tokens), np.float32)
        for part in self._parts():
            scores[:, part] = directions @ self._rows(np.arange(part.start, part.stop)).T
        margin = self._margin(np.linalg.norm(directions, axis=1))
        row, token = np.nonzero(scores >= (self._kth(scores) - 2 * margin)[:, None])
        return self._rank(row, token, directions)

    def _rank(self, row: Ids, token: Ids, directions: Floats) -> tuple[Ids, Scores]:
        """The best k of candidate pairs (at least k a direction), by score in float64, then by lower token."""
        scores = np.empty(len(row))
        for start in range(0, len(row), PAIRS):
            part = slice(start, start + PAIRS)
            products = self._rows(token[part]).astype(np.float64)
            products *= directions[row[part]]
            scores[part] = products.sum(axis=1)  # numpy adds every row in the same order: equal rows, equal sums
        order = np.lexsort((token, -scores, row))
        first = np.searchsorted(row[order], np.arange(len(directions)))
        best = order[first[:, None] + np.arange(self.k)]
        return token[best], scores[best]

    def _kth(self, scores: Floats) -> Floats:
        """The k-th largest of each row."""
        return np.partition(scores, scores.shape[1] - self.k, axis=1)[:, scores.shape[1] - self.k]

    def _margin(self, norms: Floats) -> Floats:
        """How far a float32 dot product may be off: n·u/(1−n·u)·|x|·|y| (Higham, Accuracy and Stability, 3.1)."""
        error = self.hidden * EPS32 / (1 - self.hidden * EPS32)
        return np.asarray(norms * self.norms.max() * error, np.float32)

    def _rows(self, tokens: Ids) -> Floats:
        """Embeddings of tokens as float32, [*tokens.shape, hidden]."""
        feeds = {"embeddings": self._values, "tokens": ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(tokens))}
        (rows,) = self._gather.run_with_ort_values(None, feeds)
        return np.asarray(rows.numpy())

    def _parts(self) -> Iterator[slice]:
        size = max(1, PART_BYTES // 4 // self.hidden)
        for start in range(0, self.tokens, size):
            yield slice(start, min(start + size, self.tokens))

    def _prepare(self) -> None:
        """Round the centred, rotated embeddings to 8 bits and hand them to ONNX Runtime."""
        parts = list(self._parts())
        total = sum(self._rows(np.arange(part.start, part.stop)).sum(axis=0, dtype=np.float64) for part in parts)
        self._centre = (total / self.tokens).astype(np.float32)
        self._rotation = _rotation(self.hidden)
        offset, dtype = (0, np.int8) if _mixed_signs_are_exact() else (128, np.uint8)
        quantised = np.empty((self.hidden, self.tokens), dtype)
        scales, self._errors = np.empty(self.tokens, np.float32), np.empty(self.tokens, np.float32)
        self._rounded_norms = np.empty(self.tokens, np.float32)
        for part in parts:
            centred = (self._rows(np.arange(part.start, part.stop)) - self._centre) @ self._rotation
            scale = np.abs(centred).max(axis=1, initial=1e-30) / 127
            rounded = np.rint(centred / scale[:, None])
            quantised[:, part] = (rounded + offset).astype(dtype).T
            rounded *= scale[:, None]
            scales[part], self._rounded_norms[part] = scale, np.linalg.norm(rounded, axis=1)
            self._errors[part] = np.linalg.norm(centred - rounded, axis=1)
        # Float32 rounding while centring, rotating and scaling, generously.
        self._errors += 4 * self.hidden * EPS32 * (self.norms + np.linalg.norm(self._centre))
        candidates = min(CANDIDATES * self.k + SPARE, self.tokens)
        self._proposals = _Proposals(quantised, scales, offset, candidates, self._block)


def _session(
    nodes: list[NodeProto],
    inputs: dict[str, tuple[int, list[str] | None]],
    outputs: dict[str, int],
    constants: dict[str, Array],
) -> ort.InferenceSession:
    """A session over constants; all but a few numbers go round the 2 GB limit of a model (external initialisers)."""
    initialisers, options = [], ort.SessionOptions()
    options.enable_cpu_mem_arena = False  # the arena keeps several times what a run needs
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # two sessions share the cores
    for name, array in constants.items():
        if array.size <= 8:
            initialisers.append(numpy_helper.from_array(array, name))
            continue
        onnx_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = TensorProto(name=name, data_type=onnx_type, dims=array.shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", name), ("offset", "0"), ("length", str(array.nbytes))):
            tensor.external_data.add(key=key, value=value)
        initialisers.append(tensor)
        options.add_external_initializers([name], [_ort_value(array)])
    graph = helper.make_graph(
        nodes,
        "top_tokens",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        initialisers,
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _gather_session(dtype: int) -> ort.InferenceSession:
    """Rows of a matrix of an ONNX type by number, as float32: several times faster than numpy's cast from float16.

    The matrix is an input, which is not copied; an initialiser would be.
    """
    return _session(
        [
            helper.make_node("Gather", ["embeddings", "tokens"], ["rows"]),
            helper.make_node("Cast", ["rows"], ["floats"], to=TensorProto.FLOAT),
        ],
        {"embeddings": (dtype, None), "tokens": (TensorProto.INT64, None)},
        {"floats": TensorProto.FLOAT},
        {},
    )


def _ort_value(array: Array) -> ort.OrtValue:
    """An array as ONNX Runtime sees it, without a copy; it must outlive the value."""
    onnx_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    plain = array.view(np.uint16) if onnx_type == TensorProto.BFLOAT16 else array
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(plain, onnx_type)


class _Proposals:
    """Directions [B, H] uint8 (128 is zero) → the largest approximate scores plus ``bias`` [V], and their tokens.

    The best C tokens are in the C groups of GROUP tokens with the largest maxima, which are far quicker to find. The
    product writes into one buffer, which a second session reads: fresh memory for every block's scores would cost as
    much time as the product itself.
    """

    def __init__(self, quantised: Array, scales: Floats, offset: int, candidates: int, block: int) -> None:
        self._tokens = len(scales)
        groups = -(-self._tokens // GROUP)
        padding = groups * GROUP - self._tokens  # tokens that cannot win: their bias is minus infinity
        operands = ["directions", "embeddings", "one", "scales", "middle", "offset", "bias"]
        self._product = _session(
            [helper.make_node("MatMulIntegerToFloat", operands, ["scores"], domain="com.microsoft")],
            {"directions": (TensorProto.UINT8, ["B", "H"]), "bias": (TensorProto.FLOAT, ["V"])},
            {"scores": TensorProto.FLOAT},
            {
                "embeddings": np.pad(quantised, ((0, 0), (0, padding))) if padding else quantised,
                "one": np.array(1, np.float32),
                "scales": np.pad(scales, (0, padding)),
                "middle": np.array(128, np.uint8),
                "offset": np.array(offset, quantised.dtype),
            },
        )
        self._selection = _session(
            [
                helper.make_node("ReduceMax", ["groups", "last"], ["maxima"], keepdims=0),
                helper.make_node("TopK", ["maxima", "best_groups"], ["_", "chosen"], axis=-1, sorted=0),
                helper.make_node("Unsqueeze", ["chosen", "last"], ["column"]),
                helper.make_node("GatherND", ["groups", "column"], ["members"], batch_dims=1),  # [B, C, GROUP]
                helper.make_node("Reshape", ["members", "flat"], ["candidates"]),
                helper.make_node("TopK", ["candidates", "count"], ["best", "where"], axis=-1),
            ],
            {"groups": (TensorProto.FLOAT, ["B", "G", "M"])},
            {"best": TensorProto.FLOAT, "where": TensorProto.INT64, "chosen": TensorProto.INT64},
            {
                "flat": np.array([0, -1]),
                "last": np.array([-1]),
                "best_groups": np.array([min(candidates, groups)]),
                "count": np.array([candidates]),
            },
        )
        self._scores = np.empty((block, groups * GROUP), np.float32)

    def __call__(self, directions: NDArray[np.uint8], bias: Floats) -> tuple[Floats, Ids]:
        scores = self._scores[: len(directions)]
        padded = np.full(scores.shape[1], -np.inf, np.float32)
        padded[: self._tokens] = bias
        binding = self._product.io_binding()
        binding.bind_cpu_input("directions", directions)
        binding.bind_cpu_input("bias", padded)
        binding.bind_output("scores", "cpu", 0, np.float32, scores.shape, scores.ctypes.data)
        self._product.run_with_iobinding(binding)
        groups = ort.OrtValue.ortvalue_from_numpy(scores.reshape(len(scores), -1, GROUP))
        results = self._selection.run_with_ort_values(["best", "where", "chosen"], {"groups": groups})
        best, where, chosen = (result.numpy() for result in results)
        group, member = np.divmod(where, GROUP)
        return best, np.take_along_axis(chosen, group, axis=1) * GROUP + member


@cache
def _rotation(size: int) -> Floats:
    """A random orthogonal matrix, the same every time."""
    gaussian = np.random.default_rng(0).standard_normal((size, size))
    return np.linalg.qr(gaussian)[0].astype(np.float32)


@cache
def _mixed_signs_are_exact() -> bool:
    """Whether uint8 times int8 products are exact on this processor; without VNNI pairs of them saturate at 16 bits.

    https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html#when-and-why-do-i-need-to-try-u8u8
    """
    session = _session(
        [helper.make_node("MatMulInteger", ["left", "right"], ["product"])],
        {"left": (TensorProto.UINT8, ["M", "K"])},
        {"product": TensorProto.INT32},
        {"right": np.full((64, 64), 127, np.int8)},
    )
    (product,) = session.run(None, {"left": np.full((32, 64), 255, np.uint8)})
    return bool((product == 255 * 127 * 64).all())
