"""A graph whose matrices are held in 8 or 4 bits: made from the float32 graph, node by node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from larqldb.model.graph import MICROSOFT
from larqldb.model.quantise import BLOCK, Blocks

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray


class PackedWeights:
    """Quantised matrices by group: names of weights in the graph → the blocks of all of them, one below the other.

    They become initialisers: MatMulNBits arranges constant ones for the processor once, when a session begins.
    """

    def __init__(self, groups: Mapping[tuple[str, ...], Blocks], sizes: Mapping[str, int]) -> None:
        self._groups, self._sizes = groups, sizes
        self._places = {name: (names, place) for names in groups for place, name in enumerate(names)}
        self._arrays: dict[str, NDArray[Any]] = {}
        for names, blocks in groups.items():
            stem = "+".join(names)
            self._arrays[f"{stem}.levels"], self._arrays[f"{stem}.scales"] = blocks.levels, blocks.scales
            if blocks.offsets is not None:
                self._arrays[f"{stem}.offsets"] = blocks.offsets
        self._values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in self._arrays.items()}

    def rewrite(self, model: ModelProto, options: ort.SessionOptions) -> None:
        """Let a graph multiply by them, and hand them to the session that will run it."""
        writer = _Writer(self._groups, self._places, self._sizes, model)
        writer.run()
        for name in writer.used:
            array = self._arrays[name]
            tensor = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", name), ("offset", "0"), ("length", str(array.nbytes))):
                tensor.external_data.add(key=key, value=value)
            model.graph.initializer.append(tensor)
        options.add_external_initializers(writer.used, [self._values[name] for name in writer.used])


class _Writer:
    """One graph being rewritten."""

    def __init__(
        self,
        groups: Mapping[tuple[str, ...], Blocks],
        places: Mapping[str, tuple[tuple[str, ...], int]],
        sizes: Mapping[str, int],
        model: ModelProto,
    ) -> None:
        self._groups, self._places, self._sizes, self._graph = groups, places, sizes, model.graph
        self._nodes: list[NodeProto] = []
        self._consumers: dict[str, list[NodeProto | None]] = {}
        self._sums: dict[str, str] = {}
        self._products: dict[tuple[tuple[str, ...], str], str] = {}
        self.used: list[str] = []

    def run(self) -> None:
        """Replace every product with a quantised weight; read the embeddings as they are stored."""
        nodes = list(self._graph.node)
        self._consumers = _consumers(self._graph)
        products = {tuple(node.input): node.output[0] for node in nodes if node.op_type == "FusedMatMul"}
        for node in nodes:
            if node.op_type == "FusedMatMul" and node.input[1] in self._places:
                self._product(node, products)
            else:
                self._nodes.append(node)
        del self._graph.node[:]
        self._graph.node.extend(_fuse_norms(self._nodes, {value.name for value in self._graph.input}))
        read = {name for node in self._nodes for name in node.input}
        inputs = [value for value in self._graph.input if value.name in read or value.name not in self._places]
        del self._graph.input[:]
        self._graph.input.extend(inputs)

    def _product(self, node: NodeProto, products: Mapping[tuple[str, ...], str]) -> None:
        """A product of a group with x, made where the first of them stood; the parts keep their names."""
        x, weight = node.input
        names, _ = self._places[weight]
        if (names, x) in self._products:
            return
        outputs = [products.get((x, name), "") for name in names]
        whole = outputs[0] if len(names) == 1 else f"{x}*{'+'.join(names)}"
        self._multiply(x, names, whole)
        self._products[names, x] = whole
        if len(names) > 1 and not self._attend(whole, outputs):
            sizes = helper.make_tensor(
                f"{whole}.sizes", TensorProto.INT64, [len(names)], [self._sizes[name] for name in names]
            )
            self._graph.initializer.append(sizes)
            outputs = [output or f"{whole}.{place}" for place, output in enumerate(outputs)]
            self._add("Split", [whole, sizes.name], outputs, axis=-1)

    def _attend(self, whole: str, parts: Sequence[str]) -> bool:
        """Whether attention can take queries, keys and values as one, because nothing else looks at them."""
        consumers = [self._consumers.get(part, []) for part in parts]
        node = consumers[0][0] if consumers[0] else None
        alone = all(len(found) == 1 and found[0] is node for found in consumers)
        if not alone or node is None or node.op_type != "GroupQueryAttention":
            return False
        node.input[0], node.input[1], node.input[2] = whole, "", ""
        return True

    def _multiply(self, x: str, names: Sequence[str], output: str) -> None:
        """The product x · wᵀ for the blocks of a group."""
        blocks, stem = self._groups[tuple(names)], "+".join(names)
        scaled = output if blocks.offsets is None else f"{output}.scaled"
        n, k = blocks.shape
        self._add(
            "MatMulNBits", [x, self._use(f"{stem}.levels"), self._use(f"{stem}.scales")], [scaled],
            domain=MICROSOFT, N=n, K=k, bits=blocks.bits, block_size=BLOCK, accuracy_level=4,
        )  # fmt: skip
        if blocks.offsets is not None:
            shift = f"{output}.shift"
            self._add("MatMul", [self._block_sums(x, k), self._use(f"{stem}.offsets")], [shift])
            self._add("Add", [scaled, shift], [output])

    def _block_sums(self, x: str, width: int) -> str:
        """[…, k] → […, blocks]: the sum over each block."""
        if x not in self._sums:
            sums = self._sums[x] = f"{x}.sums"
            padded = x
            if width % BLOCK:
                padded = f"{x}.padded"
                pads = self._constant(f"{x}.pads", np.array([0, 0, 0, 0, 0, -width % BLOCK]))
                self._add("Pad", [x, pads], [padded])
            shape = self._constant(f"{x}.shape", np.array([0, 0, -1, BLOCK]))
            self._add("Reshape", [padded, shape], [f"{x}.blocks"])
            self._add("ReduceSum", [f"{x}.blocks", self._constant(f"{x}.axis", np.array([-1]))], [sums], keepdims=0)
        return self._sums[x]

    def _constant(self, name: str, value: NDArray[np.int64]) -> str:
        self._graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, value.shape, value))
        return name

    def _use(self, name: str) -> str:
        if name not in self.used:
            self.used.append(name)
        return name

    def _add(self, kind: str, inputs: list[str], outputs: list[str], domain: str = "", **settings: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **settings))


def _consumers(graph: GraphProto) -> dict[str, list[NodeProto | None]]:
    """By result: the nodes that read it; None stands for the graph's caller."""
    found: dict[str, list[NodeProto | None]] = {output.name: [None] for output in graph.output}
    for node in graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


def _fuse_norms(nodes: Sequence[NodeProto], weights: Collection[str]) -> list[NodeProto]:
    """A sum and the norm of it as one operator, which gives both; adding a bias is no such sum."""
    norms = {node.input[0]: node for node in nodes if node.op_type == "SimplifiedLayerNormalization"}
    fused: list[NodeProto] = []
    gone: list[NodeProto] = []
    for node in nodes:
        is_sum = node.op_type == "Add" and not any(name in weights for name in node.input)
        norm = norms.get(node.output[0]) if is_sum else None
        if norm is not None:
            settings = {item.name: item.f for item in norm.attribute if item.name == "epsilon"}
            inputs, outputs = [*node.input, norm.input[1]], [norm.output[0], "", "", node.output[0]]
            node = helper.make_node("SkipSimplifiedLayerNormalization", inputs, outputs, domain=MICROSOFT, **settings)
            gone.append(norm)
        if not any(node is other for other in gone):
            fused.append(node)
    return fused


def read_as_stored(model: ModelProto, dtype: np.dtype[Any]) -> None:
    """Let a graph look embeddings up in a table of ``dtype`` and make float32 of those it finds."""
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    graph = model.graph
    for index, node in enumerate(graph.node):
        if node.op_type == "Gather" and node.input[0] == "embed":
            found = node.output[0]
            node.output[0] = "embed.found"
            graph.node.insert(index + 1, helper.make_node("Cast", ["embed.found"], [found], to=TensorProto.FLOAT))
            for value in graph.input:
                if value.name == "embed":
                    value.type.tensor_type.elem_type = kind
            return
