"""Bundles that are wrong in one way, made of a right one."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineside.bundle import Bundle, open_bundle, write_bundle
from tests.support.tiny import pack


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a bundle's manifest.json in place; hashes stay as they are."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    change(manifest)
    path.write_text(json.dumps(manifest))


def unmeasured(folder: Path, out: Path, *notes: str) -> Path:
    """The same bundle as if nobody had measured its parity, with notes."""
    shutil.copytree(folder, out)
    edit_manifest(out, lambda m: m.update(parity={"status": "unknown"}, notes=list(notes)))
    return out


def with_model(folder: Path, out: Path, model: bytes) -> Bundle:
    """The same bundle with another model.tflite, listed with its right hash."""
    bundle = open_bundle(folder)
    files = {name: data for name, data in bundle.files.items() if name != "manifest.json"}
    return write_bundle(out, bundle.manifest, files | {"model.tflite": model})


def listed(folder: Path, name: str, data: bytes) -> None:
    """Put a file into a bundle, listed with its right hash."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    record = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    edit_manifest(folder, lambda manifest: manifest["files"].update({name: record}))


def edit_model(model: bytes, change: Callable[[Any], None]) -> bytes:
    """Take a .tflite apart, change it, and put it together again; needs ai-edge-litert."""
    schema = pytest.importorskip(
        "ai_edge_litert.schema_py_generated", reason="ai-edge-litert comes with the extra 'runtime'"
    )
    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    change(tree)
    return pack(tree)


def crash(tree: Any) -> None:  # noqa: ANN401 - generated code without types
    """Two subgraphs that call each other: the stack overflows when the model is run."""
    schema = importlib.import_module("ai_edge_litert.schema_py_generated")
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = schema.BuiltinOperator.CALL_ONCE, 1
    code.deprecatedBuiltinCode = 127  # stands for: see builtinCode
    tree.operatorCodes.append(code)

    def call(subgraph: int) -> Any:  # noqa: ANN401 - the same
        operator, options = schema.OperatorT(), schema.CallOnceOptionsT()
        operator.opcodeIndex = len(tree.operatorCodes) - 1
        operator.inputs = operator.outputs = np.zeros(0, np.int32)
        options.initSubgraphIndex = subgraph
        operator.builtinOptions = options
        operator.builtinOptionsType = schema.BuiltinOptions.CallOnceOptions
        return operator

    tree.subgraphs[0].operators.insert(0, call(1))
    for number in (1, 2):
        graph = schema.SubGraphT()
        graph.name, graph.tensors = f"calls {3 - number}", []
        graph.inputs = graph.outputs = np.zeros(0, np.int32)
        graph.operators = [call(3 - number)]
        tree.subgraphs.append(graph)


def negate_last_layer(tree: Any) -> None:  # noqa: ANN401 - the same
    """Turn the weights of the last dense layer round: it loads, runs, and answers the opposite."""
    graph = tree.subgraphs[0]
    weights = graph.tensors[graph.operators[-1].inputs[1]]
    buffer = tree.buffers[weights.buffer]
    buffer.data = (-buffer.data.view("int8").clip(-127)).view("uint8")
