"""From a model to a bundle: the steps, in order.

    source ─▶ load ─▶ schemes ─▶ runtimes ─▶ golden images ─▶ report ─▶ trial ─▶ bundle
             (child   (child;    (a child                              (child)
             process)  on val)    for each)

Nothing appears at the bundle's place before all of them are done.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from lineside.bundle import Bundle, write_bundle, zip_bundle
from lineside.decision import is_sorting
from lineside.errors import ConvertError, LinesideError, StorageError
from lineside.extras import quiet_native
from lineside.files import storage_error
from lineside.image import Decode, Frame, decode, to_tensor
from lineside.manifest import Golden, Manifest, ModelInput, ModelOutput, Parity, RuntimeRecord
from lineside.progress import working
from lineside.runtime import Engine, open_engine
from lineside.runtime.feed import make_feed
from lineside.runtime.trial import Trial, try_bundle
from lineside_convert.auto import Choice, choose, layer_errors, scheme_rows
from lineside_convert.compatibility import Checked, Question, check, places, require_runtime
from lineside_convert.describe import describe_input, describe_output
from lineside_convert.golden import Judge, choose_golden, make_golden, test_pictures
from lineside_convert.options import Options
from lineside_convert.parity import require_parity
from lineside_convert.prepare import prepare
from lineside_convert.record import MODEL_FILE, Facts, make_manifest, make_report
from lineside_convert.signing import sign_folder
from lineside_convert.source import Photos, Source
from lineside_convert.tflite.graph import read_graph
from lineside_convert.tflite.metadata import with_metadata
from lineside_convert.trials import Candidate, Trials, default_decision
from lineside_convert.workshop import Workshop

REPORT_FILE: Final = "report.html"

ASKED: Final = 400
"""Images of `val` that every runtime is asked for, at most."""

ROOM: Final = 64 << 20
"""Bytes that must be free to begin: the model is written down several times."""


def convert(
    source: Source,
    out: Path,
    options: Options,
    *,
    zip_to: Path | None = None,
    workshop: Workshop | None = None,
) -> Bundle:
    """Convert a model into a bundle.

    Args:
        source: as `lineside_convert.source.open_source` gives it.
        out: the bundle's folder, which must not be there yet.
        options: what was said.
        zip_to: a zip file to write as well.
        workshop: to work in, where several models are converted one after the other: TensorFlow
            takes seconds to start. None: one of its own.

    Returns:
        The bundle, tried in a process of its own.

    Raises:
        InputError: labels or other things that don't fit the model.
        DatasetError: an image is missing or was changed.
        ConvertError: the model can't be converted.
        ParityError: its verdicts differ too often. Nothing is written.
        EngineError: the bundle fails its trial. Nothing is written.
        StorageError: something is there already, or the disk is full.
    """
    _check_free(out, zip_to, options.candidates)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _workshop(workshop, out) as place:
            bundle = _Conversion(prepare(source, options, place)).run(out)
    except OSError as error:
        if isinstance(error, LinesideError):
            raise
        raise storage_error(error, out) from error
    if zip_to is not None:
        zip_bundle(out, zip_to)
    return bundle


@contextlib.contextmanager
def _workshop(given: Workshop | None, out: Path) -> Iterator[Workshop]:
    if given is not None:
        yield given
        return
    # TensorFlow says all sorts of things where it can't write.
    if shutil.disk_usage(out.parent).free < ROOM:
        msg = f"{out}: less than {ROOM >> 20} MiB are free on its disk: free some, and run it again"
        raise StorageError(msg)
    # Beside the bundle, since /tmp may be memory, and the images as tensors are large.
    with (
        tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.work-") as folder,
        Workshop(Path(folder)) as own,
    ):
        yield own


def _check_free(*places: Path | None) -> None:
    """Say before the work that what is there would be in the way after it."""
    for path in places:
        if path is not None and path.exists() and not (path.is_dir() and not any(path.iterdir())):
            msg = f"{path} is there already: choose another name, or remove it"
            raise StorageError(msg)


@dataclass(frozen=True, eq=False)
class _Decided:
    """A candidate with its decision, checked in every runtime within reach."""

    candidate: Candidate
    model: bytes
    engine: Engine
    entry: tuple[ModelInput, ModelOutput]
    judge: Judge
    parity: Parity
    checked: Sequence[Checked]

    @property
    def records(self) -> list[RuntimeRecord]:
        """What the runtimes did."""
        return [one.record for one in self.checked]

    @property
    def plain(self) -> Checked | None:
        """What this machine's engine answers without XNNPACK, where that is right."""
        found = (c for c in self.checked if not c.record.xnnpack and c.record.same_answers)
        return next(found, None)


class _Conversion:
    """One conversion: from what was prepared to a bundle."""

    def __init__(self, trials: Trials) -> None:
        self._trials, self._workshop = trials, trials.workshop
        self._source, self._subject, self._options = trials.source, trials.subject, trials.options
        self._where = places(trials.options.pythons)
        self._known: dict[str, _Decided] = {}

    def run(self, out: Path) -> Bundle:
        trials = self._trials
        choice = choose(trials, self._options.scheme, self._refusal)
        measured = choice.candidate.measured
        if measured is not None:
            require_parity(measured.parity, measured.flips, self._options.max_flips)
        self._require_runtime(self._decide(choice.candidate))
        facts, files = self._finish(choice.candidate)
        layers = layer_errors(trials, choice)
        manifest = make_manifest(facts, choice)
        with working("Writing the report"):
            rows = scheme_rows(choice, self._options.device_bench)
            files[REPORT_FILE] = make_report(facts, manifest, choice, rows, layers)
        bundle = self._publish(out, manifest, files)
        if self._options.candidates is not None:
            self._publish_all(choice, self._options.candidates)
        return bundle

    @property
    def _photos(self) -> Photos | None:
        return self._source.photos

    # ---- a candidate becomes a bundle

    def _finish(self, candidate: Candidate) -> tuple[Facts, dict[str, bytes]]:
        """All that a bundle of a candidate holds, but its report."""
        decided = self._decide(candidate)
        golden, files = self._golden(decided)
        files[MODEL_FILE] = decided.model
        empty = np.zeros((0, len(self._subject.labels)))
        has_photos = self._photos is not None
        facts = Facts(
            source=self._source,
            subject=self._subject,
            options=self._options,
            candidate=candidate,
            model=decided.model,
            entry=decided.entry,
            decision=decided.judge.decision,
            parity=decided.parity,
            runtimes=decided.records,
            golden=golden,
            sample=self._trials.sample,
            truth=self._trials.truth,
            original=self._trials.original("test") if has_photos else empty,
            converted=self._trials.score(candidate, "test")[0] if has_photos else empty,
            notes=self._notes(decided),
        )
        return facts, files

    def _refusal(self, candidate: Candidate) -> str | None:
        """Why a candidate is out of the question on the runtime that was asked for."""
        if self._options.runtime is None:
            return None
        try:
            self._require_runtime(self._decide(candidate))
        except ConvertError as error:
            return str(error)
        return None

    def _require_runtime(self, decided: _Decided) -> None:
        if self._options.runtime is not None:
            dense = read_graph(decided.model).per_channel_dense
            require_runtime(decided.records, self._options.runtime, per_channel_dense=dense)

    def _decide(self, candidate: Candidate) -> _Decided:
        if candidate.file in self._known:
            return self._known[candidate.file]
        subject, measured = self._subject, candidate.measured
        model = self._with_metadata(candidate)
        with quiet_native(drop=b"INFO:"):
            engine = open_engine(model)
        entry = (
            describe_input(engine.inputs[0], subject.layout, subject.normalization),
            describe_output(engine.outputs[0], candidate.kind),
        )
        decision = default_decision(sorting=is_sorting(subject.labels))
        parity = Parity(status="unknown")
        part = "patterns"
        if measured is not None:
            decision, parity, part = measured.decision, measured.parity, "val"
        judge = Judge(engine.outputs[0], candidate.kind, decision, subject.labels)
        checked = self._check(candidate, judge, entry[0], model, part)
        decided = _Decided(candidate, model, engine, entry, judge, parity, checked)
        self._known[candidate.file] = decided
        return decided

    def _with_metadata(self, candidate: Candidate) -> bytes:
        options, subject = self._options, self._subject
        name = options.name or self._source.name
        return with_metadata(
            candidate.model,
            name=name,
            description=f"Made by lineside convert, scheme {candidate.scheme}.",
            version=options.version,
            labels=[label.name for label in subject.labels],
            kind=candidate.kind,
            normalization=subject.normalization,
        )

    def _check(
        self,
        candidate: Candidate,
        judge: Judge,
        source: ModelInput,
        model: bytes,
        part: str,
    ) -> list[Checked]:
        """Ask every runtime within reach."""
        logits, _ = self._trials.score(candidate, part)
        pixels = np.load(self._workshop.folder / f"{part}.npy", mmap_mode="r")[:ASKED]
        feed = make_feed(source)
        tensors = np.stack([feed(np.ascontiguousarray(one)) for one in pixels])
        question = Question(
            model=model,
            tensors=tensors[:, np.newaxis],
            reference=logits[:ASKED],
            output=judge.output,
            kind=judge.kind,
            decision=judge.decision,
            labels=self._subject.labels,
            max_flips=self._options.max_flips,
        )
        with working("Asking the runtimes"):
            return check(question, self._where)

    def _golden(self, decided: _Decided) -> tuple[list[Golden], dict[str, bytes]]:
        subject, judge = self._subject, decided.judge
        answering = [self._answering(decided.engine, decided.entry[0])]
        if decided.plain is not None:
            plain = open_engine(decided.model, xnnpack=False)
            answering.append(self._answering(plain, decided.entry[0]))
        if self._photos is None:
            pictures = test_pictures(subject.size)
            return make_golden(pictures, (), pictures[0], answering, subject.preprocess, judge)
        kernels = [self._trials.score(decided.candidate, "val")[1]]
        if decided.plain is not None and decided.plain.values is not None:
            kernels.append(decided.plain.values)
        images = min(map(len, kernels))
        choice = choose_golden(
            self._trials.truth["val"][:images], [one[:images] for one in kernels], judge
        )
        how = subject.preprocess.decode
        safe, near = (self._frames(chosen, how) for chosen in (choice.safe, choice.near))
        (whole,) = self._frames(choice.safe[:1], Decode())
        return make_golden(safe, near, whole, answering, subject.preprocess, judge)

    def _answering(
        self, engine: Engine, source: ModelInput
    ) -> Callable[[Frame], npt.NDArray[np.float64]]:
        feed, subject = make_feed(source), self._subject

        def answer(frame: Frame) -> npt.NDArray[np.float64]:
            pixels = to_tensor(frame, subject.preprocess, subject.size)
            return engine.invoke(feed(pixels))[0].reshape(-1).astype(np.float64)

        return answer

    def _frames(self, chosen: Sequence[int], how: Decode) -> list[Frame]:
        assert self._photos is not None  # noqa: S101 - the caller has looked
        rows, root = self._photos.part("val"), self._photos.root
        return [
            decode((root / rows[i].file).read_bytes(), how, name=repr(rows[i].file)) for i in chosen
        ]

    def _notes(self, decided: _Decided) -> list[str]:
        notes = list(self._subject.notes)
        if decided.parity.status == "unknown":
            notes.append(
                "There were no images: the limits are even odds, and the golden images are test "
                "patterns."
            )
        if not all(one.same_answers for one in decided.records if one.name == "ai-edge-litert"):
            notes.append("Only for devices with XNNPACK: without it too many verdicts differ.")
        return notes

    # ---- out

    def _publish(self, out: Path, manifest: Manifest, files: dict[str, bytes]) -> Bundle:
        """Try the bundle, then let it appear."""
        with (
            tempfile.TemporaryDirectory(dir=self._workshop.folder) as folder,
            working("Trying the bundle"),
        ):
            trial = try_bundle(write_bundle(Path(folder) / out.name, manifest, files).path)
        _check_trial(manifest, trial)
        return write_bundle(out, manifest, files, sign=self._sign)

    @property
    def _sign(self) -> Callable[[Path], object] | None:
        key, password = self._options.key, self._options.key_password
        return None if key is None else lambda folder: sign_folder(folder, key, password)

    def _publish_all(self, choice: Choice, folder: Path) -> None:
        """A bundle of each scheme that was made, to be timed on a device."""
        for number, one in enumerate(choice.tried):
            if not isinstance(one, Candidate):
                continue
            facts, files = self._finish(one)
            manifest = make_manifest(facts, choice)
            folder.mkdir(parents=True, exist_ok=True)
            place = folder / "".join(c if c.isalnum() else "_" for c in one.scheme)[:60].rstrip("_")
            if place.exists():  # long schemes begin alike
                place = place.with_name(f"{place.name}_{number}")
            write_bundle(place, manifest, files, sign=self._sign)


def _check_trial(manifest: Manifest, trial: Trial) -> None:
    """The manifest says which runtime ran the golden images; the child must have used that one."""
    record = manifest.model.runtimes[0]
    said = (record.name, record.version, record.arch, record.xnnpack)
    found = (trial.runtime, trial.version, trial.arch, trial.xnnpack)
    if said != found:
        msg = f"the trial ran on {found}, but the bundle says {said}; run it again"
        raise ConvertError(msg)
