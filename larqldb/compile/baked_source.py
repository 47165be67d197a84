"""A model with its edits as something to extract: what a vindex says of a model is then said of this one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.extract.sources.base import Source, TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.compile.state import BakedModel


class BakedSource(Source):
    """The tensors and files of a model with its edits; ``origin`` and ``form`` say what it was made of."""

    def __init__(self, model: BakedModel, origin: str, form: Any) -> None:
        self._model = model
        self._stored = {tensor.name: tensor for tensor in model.store.tensors()}
        infos = {
            name: TensorInfo(name, model.dtype(tensor), model.shape(tensor)) for name, tensor in self._stored.items()
        }
        super().__init__(origin, json.loads(model.config), infos)
        self.format = form

    @property
    def files(self) -> dict[str, bytes]:
        """The files the model came with, config.json as the edits make it."""
        return {**self._model.files, "config.json": self._model.config}

    def _read(self, info: TensorInfo, start: int, stop: int) -> NDArray[Any]:
        return np.array(self._model.read(self._stored[info.name])[start:stop])
