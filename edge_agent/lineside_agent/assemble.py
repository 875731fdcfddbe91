"""From what is known of one part to its result. Pure: no clock, no disk, no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from msgspec import Struct

from lineside.decision import Answer
from lineside.image import Box
from lineside.inspector import Inspector
from lineside.messages import Input, Latency, Limits, ModelRef, Part, Result
from lineside.settings import StationSettings
from lineside_agent.sources import Shot, Source
from lineside_agent.triggers import Firing

MAX_REASON_CHARS: Final = 200
"""A longer reason is cut."""


@dataclass(frozen=True)
class Context:
    """What all results of a stream have in common.

    Attributes:
        station: whose results they are.
        boot: the UUID of this start of the agent.
        stream: the stream's name.
        camera: the camera's name.
        roi: the region looked at, in pixels of the frame; None for all of it.
        task: from the manifest.
        limits: from the manifest.
        models: who is asked.
        xnnpack: whether XNNPACK runs the model.
        parity: from the manifest: whether the bundle's maker measured it on images.
    """

    station: StationSettings
    boot: str
    stream: str
    camera: str
    roi: Box | None
    task: str
    limits: Limits
    models: tuple[ModelRef, ...]
    xnnpack: bool
    parity: Literal["measured", "unknown"]

    @classmethod
    def of(
        cls,
        inspector: Inspector,
        *,
        station: StationSettings,
        boot: str,
        stream: str,
        camera: str,
        roi: Box | None,
    ) -> Context:
        """The context of a stream that is looked at by one model."""
        manifest = inspector.bundle.manifest
        limits = manifest.decision.limits
        return cls(
            station=station,
            boot=boot,
            stream=stream,
            camera=camera,
            roi=roi,
            task=manifest.task,
            limits=Limits(review=limits.review, ng=limits.ng),
            models=(inspector.model_ref,),
            xnnpack=inspector.engine.xnnpack,
            parity=manifest.parity.status,
        )


class Times(Struct, frozen=True):
    """Moments of one part's way, in ns of the monotonic clock.

    Attributes:
        captured: when the frame was captured, or should have been.
        begun: when the work on it began.
        decided: when the verdict was there.
        preprocess_ms: from the frame to the tensor.
        invoke_ms: from the tensor to the outputs.
    """

    captured: int
    begun: int
    decided: int
    preprocess_ms: float = 0.0
    invoke_ms: float = 0.0


def assemble(
    context: Context,
    *,
    n: int,
    firing: Firing,
    shot: Shot | None,
    answer: Answer,
    times: Times,
    clock_synced: bool,
    source: Source,
) -> Result:
    """The result of one part, without its sequence number: that is given when it is kept.

    Args:
        context: of the stream.
        n: the part's number, from 1.
        firing: why it was looked at.
        shot: its frame; None, or one without a frame, where there is none.
        answer: what is said of it.
        times: when what happened.
        clock_synced: whether `shot.captured_at` can be trusted.
        source: where the shot is from: what its stamp is worth, and how the camera is set.
    """
    size = None if shot is None else shot.size
    inputs = []
    if shot is not None and size is not None:
        height, width = size
        inputs.append(
            Input(
                name=context.camera,
                mono_ns=shot.mono_ns,
                stamp=shot.stamp,
                max_delay_ms=source.max_delay_ms if shot.stamp == "read" else None,
                frame_id=shot.frame_id,
                controls=dict(source.controls),
                size=(width, height),
                roi=context.roi,
            )
        )
    return Result(
        site=context.station.site,
        station=context.station.name,
        stream=context.stream,
        boot=context.boot,
        seq=0,
        part=Part(n=n, id=_part_id(firing, shot), context=firing.context),
        trigger=firing.message,
        captured_at=shot.captured_at if shot is not None and size is not None else None,
        clock_synced=clock_synced,
        inputs=inputs,
        task=context.task,
        verdict=answer.verdict,
        reasons=[reason[:MAX_REASON_CHARS] for reason in answer.reasons],
        label=answer.label,
        score=answer.score,
        limits=context.limits,
        scores=list(answer.scores),
        models=list(context.models),
        latency_ms=Latency(
            queue=_ms(times.begun - times.captured),
            preprocess=round(times.preprocess_ms, 3),
            invoke=round(times.invoke_ms, 3),
            total=_ms(times.decided - times.captured),
        ),
    )


def _part_id(firing: Firing, shot: Shot | None) -> str | None:
    if firing.part_id is not None or shot is None:
        return firing.part_id
    return shot.part_id


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 3)
