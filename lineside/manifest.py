"""The bundle's manifest.json and what a run and a bundle have in common: labels.

Unknown fields are kept and ignored, an unknown major version is refused. A bundle's digest is
the sha256 of its manifest.json.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from lineside.errors import BundleError
from lineside.image import Preprocess
from lineside.messages import Verdict
from lineside.topics import NAME_PATTERN

SCHEMA: Final = "lineside.bundle/1"

FILE_PATTERN: Final = r"^[a-z0-9_-]+(/[a-z0-9_-]+)?\.(tflite|json|png|jpg|npy|html)$(?!\n)"
"""What a file in a bundle may be called."""

PARITY_UNKNOWN: Final = (
    "parity is unknown: this model was measured on no images; 'lineside convert --images DATA' "
    "measures it"
)
"""What every view says of a bundle whose parity is unknown."""

FileName = Annotated[str, Meta(pattern=FILE_PATTERN)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]


class Label(Struct, frozen=True, kw_only=True):
    """One answer that the model can give; labels are in the order of the model's outputs."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    good: bool
    """Whether it means a good part. All true: sorting, and `ok` means confident."""


class InputSpec(Struct, frozen=True, kw_only=True):
    """One input of the bundle, as the station provides it."""

    name: str
    kind: Literal["image"] = "image"
    preprocess: Preprocess


class Normalization(Struct, frozen=True, kw_only=True):
    """What a model of others wants done to the pixels: (pixel - mean) / std.

    One value for all channels, or one for each.
    """

    mean: Annotated[list[float], Meta(min_length=1, max_length=3)]
    std: Annotated[list[float], Meta(min_length=1, max_length=3)]


class ModelInput(Struct, frozen=True, kw_only=True):
    """One input tensor of a model file."""

    tensor: int
    """Which of the file's inputs, from 0."""
    source: str = msgspec.field(name="from")
    """The name of the bundle's input."""
    shape: tuple[int, int, int, int]
    layout: Literal["nhwc", "nchw"] = "nhwc"
    dtype: Literal["uint8", "int8", "float32"]
    scale: float
    zero_point: int
    normalization: Normalization | None = None


class ModelOutput(Struct, frozen=True, kw_only=True):
    """One output tensor of a model file: real = (quantized - zero_point) * scale."""

    tensor: int
    """Which of the file's outputs, from 0."""
    kind: str
    """`class_logits`; `class_probabilities` where softmax is in the model; `binary_logit` and
    `binary_probability` where one value stands for the second of two labels. Others are reserved.
    """
    shape: list[int]
    dtype: Literal["uint8", "int8", "float32"]
    scale: float
    """0 for float32."""
    zero_point: int


class RuntimeRecord(Struct, frozen=True, kw_only=True):
    """A runtime that ran the model where the bundle was made."""

    name: str
    version: str
    arch: str
    xnnpack: bool
    same_answers: bool
    """Whether its verdicts are the ones that the bundle was chosen for."""
    loads: bool = True
    images: int = 0
    """How many images it was asked for; 0 where none were there."""
    flips: int = 0
    """Images that it gave another verdict."""
    note: str = ""
    """Why not, where it does not load or answers something else."""


class ModelSpec(Struct, frozen=True, kw_only=True):
    """One model file."""

    role: str = "main"
    format: Literal["tflite"] = "tflite"
    file: FileName
    scheme: str
    """How it is quantized, such as `static_wi8_ai8`."""
    graph: Sha256 | None = None
    """Fingerprint of operators, shapes and types, not of weights: the same for the same speed."""
    inputs: list[ModelInput]
    outputs: list[ModelOutput]
    runtimes: list[RuntimeRecord] = []


class LimitSpec(Struct, frozen=True, kw_only=True):
    """Defect scores from which on a part is for review, or not good. Null: not used."""

    review: Probability | None
    ng: Probability | None


class EscapeEvidence(Struct, frozen=True, kw_only=True):
    """How far a limit on escapes is kept; `lineside.escapes` holds the formulas."""

    max_rate: float
    """The share of bad parts that may pass as `ok`; when sorting, that of all images which may,
    with a wrong label.
    """
    parts: int
    """Bad parts among the images that the limits were chosen on; when sorting, all of them."""
    escapes: int
    """How many of them pass as `ok`."""
    upper: float
    """With 95 % confidence, the true share is not above this."""


class DecisionSpec(Struct, frozen=True, kw_only=True):
    """How outputs become a verdict; `lineside.decision` holds the formulas."""

    score: Literal["p_not_good", "uncertainty"]
    """`uncertainty`, 1 - max(p), when sorting."""
    temperature: Annotated[float, Meta(gt=0.0)]
    limits: LimitSpec
    chosen_on: str = "val"
    costs: dict[str, float] = {}
    """What an `escape`, a false `reject` and a `review` were taken to cost."""
    escapes: EscapeEvidence | None = None
    """Where a limit was set to how many may escape."""


class Golden(Struct, frozen=True, kw_only=True):
    """An image whose answer is known."""

    file: FileName
    outputs: list[list[float]]
    """For each of the model's outputs its values, quantized where the output is."""
    verdict: Verdict
    max_steps: float
    """How far an output may be off: steps of a quantized one, units of a float one."""


class FileRecord(Struct, frozen=True, kw_only=True):
    """A file of the bundle."""

    sha256: Sha256
    size: Annotated[int, Meta(ge=0)]
    """Bytes."""


class Parity(Struct, frozen=True, kw_only=True):
    """How far the converted model is from the original, on the same images."""

    status: Literal["measured", "unknown"]
    reference: str | None = None
    """What it was compared with, such as `keras`."""
    split: str | None = None
    images: int = 0
    flips: int = 0
    """Images with another verdict."""
    worst: float = 0.0
    """The largest difference of a defect score."""
    expected_flips: float | None = None
    """The share of new images that is to be expected with another verdict: limits chosen on one
    half of the images, the models' differences tried on the other.
    """


class Metrics(Struct, frozen=True, kw_only=True):
    """Figures of both models on the same split; see `lineside.metrics.Figures`."""

    split: str
    images: int
    float_: dict[str, Any] = msgspec.field(name="float")
    quantized: dict[str, Any]


class Manifest(Struct, frozen=True, kw_only=True):
    """The one thing that a station needs to know of a model."""

    schema: str = SCHEMA
    name: Annotated[str, Meta(pattern=NAME_PATTERN)]
    version: Annotated[str, Meta(pattern=r"^\d{1,6}\.\d{1,6}\.\d{1,6}$(?!\n)")]
    created: str
    task: str
    labels: Annotated[list[Label], Meta(min_length=2)]
    inputs: Annotated[list[InputSpec], Meta(min_length=1, max_length=1)]
    models: Annotated[list[ModelSpec], Meta(min_length=1, max_length=1)]
    decision: DecisionSpec
    golden: Annotated[list[Golden], Meta(min_length=1)]
    metrics: Metrics | None = None
    parity: Parity
    measured: dict[str, Any] = {}
    notes: list[Annotated[str, Meta(max_length=500)]] = []
    """What whoever uses the bundle must know, a sentence each: every view shows them."""
    files: dict[FileName, FileRecord]
    provenance: dict[str, Any] = {}

    @property
    def remarks(self) -> tuple[str, ...]:
        """What whoever uses the bundle is told: its notes, and that parity is unknown if it is."""
        unknown = (PARITY_UNKNOWN,) if self.parity.status == "unknown" else ()
        return (*self.notes, *unknown)

    @property
    def model(self) -> ModelSpec:
        """The main model."""
        return self.models[0]

    @property
    def preprocess(self) -> Preprocess:
        """How a picture becomes the main model's input."""
        return self.inputs[0].preprocess

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the main model's input, in pixels."""
        spec = self.model.inputs[0]
        return (
            (spec.shape[1], spec.shape[2])
            if spec.layout == "nhwc"
            else (spec.shape[2], spec.shape[3])
        )


class _SchemaOnly(Struct):
    schema: str


_SCHEMA_DECODER: Final = msgspec.json.Decoder(_SchemaOnly)
_DECODER: Final = msgspec.json.Decoder(Manifest)


def decode_manifest(data: bytes) -> Manifest:
    """Read a manifest.json.

    Raises:
        BundleError: it is not JSON, of another major version, or not what the schema says.
    """
    try:
        schema = _SCHEMA_DECODER.decode(data).schema
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"manifest.json is refused: {error}"
        raise BundleError(msg) from error
    if not re.fullmatch(re.escape(SCHEMA) + r"(\.\d+)?", schema):
        msg = f"manifest.json: schema {SCHEMA!r} is expected, got {schema!r}; update lineside"
        raise BundleError(msg)
    try:
        manifest = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"manifest.json is refused: {error}"
        raise BundleError(msg) from error
    _check_consistent(manifest)
    return manifest


def _check_consistent(manifest: Manifest) -> None:
    """Refuse what contradicts itself."""
    for problem in _problems(manifest):
        msg = f"manifest.json is refused: {problem}"
        raise BundleError(msg)


def _problems(manifest: Manifest) -> Iterator[str]:
    model = manifest.model
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        yield f"one input and one output, got {len(model.inputs)} and {len(model.outputs)}"
        return
    source, output = model.inputs[0], model.outputs[0]
    if model.file not in manifest.files:
        yield f"the model {model.file!r} is not listed under files"
    values = 1 if output.kind.startswith("binary_") else len(manifest.labels)
    if math.prod(output.shape) != values or (values == 1 and len(manifest.labels) != 2):
        yield f"{len(manifest.labels)} labels, but {output.kind} of shape {output.shape}"
    for golden in manifest.golden:
        if golden.file not in manifest.files:
            yield f"the golden image {golden.file!r} is not listed under files"
        if [len(found) for found in golden.outputs] != [values]:
            yield f"{golden.file}: {values} output values are expected"
    if len({label.name for label in manifest.labels}) != len(manifest.labels):
        yield "a label comes twice"
    yield from _input_problems(source, manifest.preprocess, ours=model.scheme != "unchanged")


def _input_problems(source: ModelInput, preprocess: Preprocess, *, ours: bool) -> Iterator[str]:
    batch, *rest = source.shape
    channels = rest[-1] if source.layout == "nhwc" else rest[0]
    if batch != 1 or min(rest) < 1:
        yield f"an input of one picture is expected, got the shape {list(source.shape)}"
    if channels != preprocess.channels:
        yield (
            f"{preprocess.colour} pixels have {preprocess.channels} channels, but the input of "
            f"shape {list(source.shape)} ({source.layout}) takes {channels}"
        )
    wanted = source.normalization
    if wanted is None:
        # What lineside quantized takes real values that are the pixels. A file of others may call
        # its 256 steps what it likes.
        if ours and source.dtype == "uint8" and (source.scale, source.zero_point) != (1.0, 0):
            yield (
                "a uint8 input takes raw pixels: scale 1 and zero point 0 are expected, "
                f"got {source.scale} and {source.zero_point}"
            )
        return
    if not {len(wanted.mean), len(wanted.std)} <= {1, channels}:
        yield (
            f"a normalization holds 1 or {channels} values, "
            f"got {len(wanted.mean)} of mean and {len(wanted.std)} of std"
        )
    if min(wanted.std) <= 0:
        yield f"the std of a normalization must be above 0, got {wanted.std}"
    if source.dtype != "float32" and source.scale <= 0:
        yield f"a normalized {source.dtype} input needs a scale above 0, got {source.scale}"


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as JSON, indented, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
