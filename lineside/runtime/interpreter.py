"""What the two packages share that bring TFLite's interpreter to Python."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from lineside.runtime.engine import Engine, Tensor, TensorInfo


class InterpreterEngine(Engine):
    """An engine whose package has an `Interpreter` as TensorFlow Lite's. Sets `module`."""

    module: ClassVar[str]
    """Where the class `Interpreter` is."""

    @override
    def _load(self, model: bytes, threads: int, *, xnnpack: bool) -> None:
        module: Any = importlib.import_module(self.module)
        kinds = module.OpResolverType
        kernels = kinds.AUTO if xnnpack else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter: Any = module.Interpreter(
            model_content=model, num_threads=threads, experimental_op_resolver_type=kernels
        )
        interpreter.allocate_tensors()
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        self._interpreter = interpreter
        self._input: int = inputs[0]["index"]
        self._outputs: list[int] = [details["index"] for details in outputs]
        self.version = version(self.name)
        self.inputs = tuple(_info(details) for details in inputs)
        self.outputs = tuple(_info(details) for details in outputs)
        # What a delegate has taken over appears as one node of this name. Neither package
        # applies another delegate than XNNPACK by itself, and lineside asks for none.
        nodes = interpreter._get_ops_details()  # noqa: SLF001 - the only way to find out
        self.xnnpack = any(node["op_name"] == "DELEGATE" for node in nodes)

    @override
    def _invoke(self, batch: Tensor) -> list[Tensor]:
        self._interpreter.set_tensor(self._input, batch)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


def _info(details: dict[str, Any]) -> TensorInfo:
    scale, zero_point = details["quantization"]
    shape = tuple(int(side) for side in details["shape"])
    return TensorInfo(shape, np.dtype(details["dtype"]).name, float(scale), int(zero_point))
