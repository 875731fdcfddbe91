"""Bundles of models that nobody here made: a manifest by hand, golden images of real answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from lineside.bundle import MANIFEST, Bundle, check_bundle, write_bundle
from lineside.image import Preprocess
from lineside.inspector import Inspector
from lineside.manifest import (
    DecisionSpec,
    FileRecord,
    Golden,
    InputSpec,
    Label,
    LimitSpec,
    Manifest,
    ModelInput,
    ModelOutput,
    ModelSpec,
    Normalization,
    Parity,
    encode_manifest,
)
from lineside.runtime import open_engine
from lineside.runtime.golden import golden_frame


def write_foreign(
    out: Path,
    model: bytes,
    labels: Sequence[str],
    pictures: Mapping[str, bytes],
    *,
    kind: str = "class_probabilities",
    normalization: tuple[float, float] | None = None,
    layout: Literal["nhwc", "nchw"] = "nhwc",
    good: int | None = None,
    notes: Sequence[str] = (),
) -> Bundle:
    """Write a bundle that says what the model file says.

    Args:
        out: the folder.
        model: a .tflite with one picture as its input.
        labels: in the order of the outputs.
        pictures: name -> bytes, golden images; their answers are those of the model.
        kind: of the output.
        normalization: mean and std, of all channels.
        layout: of the input.
        good: which label means a good part; all of them if None.
        notes: for the manifest.
    """
    engine = open_engine(model)
    taken, given = engine.inputs[0], engine.outputs[0]
    channels = taken.shape[3 if layout == "nhwc" else 1]
    said = (
        None
        if normalization is None
        else Normalization(mean=[normalization[0]], std=[normalization[1]])
    )
    source = {
        "tensor": 0,
        "from": "image",
        "shape": taken.shape,
        "layout": layout,
        "dtype": taken.dtype,
        "scale": taken.scale or float(taken.dtype == "uint8"),  # never quantized: raw
        "zero_point": taken.zero_point,
        "normalization": said,
    }
    output = ModelOutput(
        tensor=0,
        kind=kind,
        shape=list(given.shape),
        dtype=given.dtype,  # type: ignore[arg-type]  # checked when it is read back
        scale=given.scale,
        zero_point=given.zero_point,
    )
    values = 1 if kind.startswith("binary_") else len(labels)
    manifest = Manifest(
        name="foreign",
        version="1.0.0",
        created="2026-11-21T00:00:00Z",
        task="classify",
        labels=[Label(name=name, good=good in {None, i}) for i, name in enumerate(labels)],
        inputs=[
            InputSpec(
                name="image",
                preprocess=Preprocess(colour="gray" if channels == 1 else "rgb"),
            )
        ],
        models=[
            ModelSpec(
                file="model.tflite",
                scheme="unchanged",
                inputs=[msgspec.convert(source, ModelInput)],
                outputs=[output],
            )
        ],
        decision=DecisionSpec(
            score="uncertainty" if good is None else "p_not_good",
            temperature=1.0,
            limits=LimitSpec(review=0.5, ng=None if good is None else 0.9),
        ),
        golden=[
            Golden(file=name, outputs=[[0.0] * values], verdict="ok", max_steps=2.0)
            for name in pictures
        ],
        parity=Parity(status="unknown"),
        notes=list(notes),
        files={},
    )
    return write_bundle(
        out, _answered(manifest, model, pictures), {"model.tflite": model, **pictures}
    )


def _answered(manifest: Manifest, model: bytes, pictures: Mapping[str, bytes]) -> Manifest:
    """The same with the answers of the model itself, in memory."""
    files = {"model.tflite": model, **pictures}
    records: dict[str, Any] = {
        name: FileRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        for name, data in files.items()
    }
    draft = msgspec.structs.replace(manifest, files=records)
    bundle = check_bundle(Path("draft"), {MANIFEST: encode_manifest(draft), **files})
    inspector = Inspector(bundle)
    golden = []
    for entry in manifest.golden:
        frame = golden_frame(entry.file, pictures[entry.file], manifest.preprocess)
        outputs = inspector.outputs(inspector.tensor(frame))
        verdict = inspector.decide(inspector.logits_of(outputs)).verdict
        golden.append(
            msgspec.structs.replace(
                entry, outputs=[outputs.astype(float).tolist()], verdict=verdict
            )
        )
    return msgspec.structs.replace(manifest, golden=golden)
