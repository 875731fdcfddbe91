"""What parent and child say to each other: one JSON object a line, each request answered once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct

from lineside.manifest import Normalization

Layout = Literal["nhwc", "nchw"]


class Request(Struct, frozen=True, kw_only=True, tag_field="do"):
    """Something that the child is asked to do."""


class Load(Request, frozen=True, kw_only=True, tag="load"):
    """Load a .keras file, a SavedModel or a .tflite, and write it down as original.tflite.

    Answered by `Loaded`.
    """

    path: str
    normalization: Normalization | None = None
    """What it wants done to the pixels; folded into the graph, but for a .tflite."""


class AskOriginal(Request, frozen=True, kw_only=True, tag="ask_original"):
    """Let the loaded model score a part; a .tflite by plain kernels. Answered by `Scored`."""

    part: str
    out: str


class Ask(Request, frozen=True, kw_only=True, tag="ask"):
    """Let a .tflite score a part. Answered by `Scored`."""

    model: str
    """Its name in the folder."""
    part: str
    out: str
    kind: str
    """Of its output: see `lineside.manifest.ModelOutput`."""
    layout: Layout = "nhwc"
    normalization: Normalization | None = None
    timed: bool = False
    """Whether to time it too."""


class Calibrate(Request, frozen=True, kw_only=True, tag="calibrate"):
    """Round the weights of original.tflite, and find the ranges of all its tensors.

    Both by calibration.npy. What static and weights schemes begin with afterwards is
    rounded.tflite. Answered by `Done`.
    """

    layout: Layout = "nhwc"
    normalization: Normalization | None = None


class Make(Request, frozen=True, kw_only=True, tag="make"):
    """Make a scheme of original.tflite, or of rounded.tflite. Answered by `Done`."""

    scheme: str
    out: str
    ranges: str = "minmax"
    corrected: bool = False
    """Whether biases take back what a static scheme is off in the mean."""
    layout: Layout = "nhwc"
    normalization: Normalization | None = None


class Errors(Request, frozen=True, kw_only=True, tag="errors"):
    """Compare a model with original.tflite, layer by layer. Answered by `Layers`."""

    model: str
    part: str
    images: int
    layout: Layout = "nhwc"
    normalization: Normalization | None = None


AnyRequest = Load | AskOriginal | Ask | Calibrate | Make | Errors


class Loaded(Struct, frozen=True, kw_only=True):
    """What the model is."""

    height: int
    width: int
    channels: int
    layout: Layout
    kind: str
    """Of the output of original.tflite."""
    own_kind: str
    """Of the model's own output: a softmax is left out of original.tflite."""
    values: int
    """How many values the output has."""
    dtype: str
    """Of the input of original.tflite."""
    versions: dict[str, str]


class Scored(Struct, frozen=True, kw_only=True):
    """A part was scored: the logits are in `out`, a .tflite's stored values in `out`.values.npy."""

    invoke_ms_p50: float | None = None
    """By one thread, where it was timed."""
    undelegated: list[str] = []
    """Kinds of operators that XNNPACK does not run, where it was timed."""


class Layer(Struct, frozen=True, kw_only=True):
    """What quantization does to one layer's output."""

    layer: str
    op: str
    snr_db: float
    delegated: bool


class Layers(Struct, frozen=True, kw_only=True):
    """All layers, in the order of the graph."""

    layers: list[Layer]


class Done(Struct, frozen=True, kw_only=True):
    """It is done."""


class Reply(Struct, kw_only=True):
    """The child's answer: the one that the request says, or why not, in one line."""

    answer: Any = None
    error: str | None = None


REQUESTS: msgspec.json.Decoder[Annotated[AnyRequest, "tagged"]] = msgspec.json.Decoder(AnyRequest)
