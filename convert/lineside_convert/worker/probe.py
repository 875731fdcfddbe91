"""LiteRT's interpreter, looked into: every tensor's values, and what XNNPACK leaves out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lineside.extras import require
from lineside.runtime.engine import Tensor
from lineside_convert.tflite.graph import Graph


class Probe:
    """A model whose tensors can all be read after a run; plain kernels, so that all are there.

    Args:
        model: the bytes of a .tflite.
    """

    def __init__(self, model: bytes) -> None:
        module: Any = require("ai_edge_litert.interpreter", extra="convert")
        self._interpreter: Any = module.Interpreter(
            model_content=model,
            num_threads=2,
            experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        self._interpreter.allocate_tensors()
        self._input: int = self._interpreter.get_input_details()[0]["index"]

    def run(self, batch: Tensor) -> None:
        """Run the model on one picture, with its batch dimension."""
        self._interpreter.set_tensor(self._input, batch)
        self._interpreter.invoke()

    def real(self, index: int) -> npt.NDArray[np.float32]:
        """The real values of a tensor of the last run, flat."""
        stored = self._interpreter.get_tensor(index).reshape(-1)
        scale, zero_point = self._interpreter._get_tensor_details(index, 0)["quantization"]  # noqa: SLF001
        if scale:
            return np.asarray((stored.astype(np.float32) - zero_point) * np.float32(scale))
        real: npt.NDArray[np.float32] = stored.astype(np.float32, copy=False)
        return real


def undelegated(model: bytes, graph: Graph) -> list[int]:
    """The operators that XNNPACK does not run, as indices into the graph.

    Args:
        model: the bytes of a .tflite.
        graph: what it says.

    Returns:
        None where it runs all of them; all of them where it runs none.
    """
    module: Any = require("ai_edge_litert.interpreter", extra="convert")
    interpreter: Any = module.Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    # After the graph's own nodes come those that stand for what a delegate has taken over.
    nodes = interpreter._get_ops_details()  # noqa: SLF001 - the only way to find out
    own = [node for node in nodes if node["op_name"] != "DELEGATE"]
    maker = {int(index): number for number, node in enumerate(own) for index in node["outputs"]}
    taken: set[int] = set()
    for delegate in nodes[len(own) :]:
        given = {int(index) for index in delegate["inputs"]}
        queue = [int(index) for index in delegate["outputs"]]
        while queue:
            index = queue.pop()
            number = maker.get(index)
            if number is None or number in taken or index in given:
                continue
            taken.add(number)
            queue += [int(source) for source in own[number]["inputs"] if source >= 0]
    # The interpreter may add nodes of its own.
    return [number for number in range(len(graph.operators)) if number not in taken]
