"""Do the devices' runtimes answer as this machine's? On an emulated 64-bit arm processor.

    python bench/arm64.py

Needs Debian's qemu-user-static, mmdebstrap and arch-test, and an apt that knows a Debian mirror.
Under build/arm64/ it makes a small Debian 12 for arm64 (nothing of it is run while it is made),
the agent's wheels for it, once with ai-edge-litert and once with tflite-runtime, and for each a
program `python-NAME` that behaves like a Python on such a device: `lineside convert
--check-python` takes it too. Emulated times say nothing about a device's, so none is written.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from page import ROOT, write_section

from lineside.bundle import Bundle, open_bundle
from lineside.dataset import load_tensors
from lineside.inspector import Inspector
from lineside.runtime import open_engine
from lineside.runtime.answers import ask
from lineside.runtime.feed import make_feed
from lineside.runtime.golden import golden_frame
from lineside_convert.compatibility import Checked, Place, Question, check
from tests.e2e.environments import build_wheel, material, say
from tests.support.arm64 import CPUINFO
from tests.support.command import lineside
from tests.support.debian import mirror

HERE: Final = ROOT / "build" / "arm64"
SYSTEM: Final = HERE / "root"
SUITE: Final = "bookworm"
PYTHON: Final = "3.11"  # that suite's
PACKAGES: Final = "base-files,libc-bin,python3,libpython3-stdlib,libgomp1,libstdc++6"
PLATFORMS: Final = (
    "manylinux_2_34",
    "manylinux_2_28",
    "manylinux_2_27",
    "manylinux_2_17",
    "manylinux2014",
)
TOOLS: Final = {"qemu-aarch64-static": "qemu-user-static", "mmdebstrap": "mmdebstrap"}
RUNTIMES: Final = {
    "ai-edge-litert": (f"ai-edge-litert=={version('ai-edge-litert')}",),
    "tflite-runtime": ("tflite-runtime==2.14.0", "numpy<2"),
}
CELLS: Final = 100  # images of each label


# ---- the emulated device


def make_system() -> None:
    """Debian for arm64, unpacked, with what a Raspberry Pi says of its processor."""
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if missing:
        sys.exit(f"missing: apt-get install {' '.join(missing)} arch-test")
    stamp = SYSTEM.with_suffix(".made")
    if not stamp.exists() or stamp.read_text() != f"{SUITE} {PACKAGES}":
        shutil.rmtree(SYSTEM, ignore_errors=True)
        HERE.mkdir(parents=True, exist_ok=True)
        say(f"unpacking Debian {SUITE} for arm64")
        command = ["mmdebstrap", "--quiet", "--architectures=arm64", "--variant=extract"]
        command += [f"--include={PACKAGES}", SUITE, str(SYSTEM), f"deb {mirror()} {SUITE} main"]
        subprocess.run(command, check=True)
        stamp.write_text(f"{SUITE} {PACKAGES}")
    cpus = SYSTEM / "sys" / "devices" / "system" / "cpu"
    cpus.mkdir(parents=True, exist_ok=True)
    for name in ("possible", "present"):
        (cpus / name).write_text("0-3\n")
    (SYSTEM / "proc" / "cpuinfo").write_text("".join(CPUINFO.format(n=n) for n in range(4)))


def make_python(name: str, wheel: Path) -> Path:
    """A program that behaves like a Python on the device, with lineside and a runtime in it."""
    packages = HERE / "packages" / name
    shutil.rmtree(packages, ignore_errors=True)
    say(f"installing {name} for arm64")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    command += ["--target", str(packages), "--no-compile", "--only-binary=:all:"]
    command += ["--implementation=cp", f"--python-version={PYTHON}"]
    command += [f"--platform={platform}_aarch64" for platform in PLATFORMS]
    done = subprocess.run(
        [*command, str(wheel), *RUNTIMES[name]], check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr)
    # qemu looks for every path in the unpacked system first, so neither root nor a mount is
    # needed; what this machine's Python was told must not reach the other one.
    program = HERE / f"python-{name}"
    program.write_text(
        "#!/bin/sh\n"
        f"exec env -i PATH=/usr/bin:/bin LANG=C.UTF-8 {shutil.which('qemu-aarch64-static')} "
        f"-cpu cortex-a72 -L '{SYSTEM}' -E PYTHONPATH='{packages}' "
        f"'{SYSTEM}/usr/bin/python{PYTHON}' \"$@\"\n"
    )
    program.chmod(0o755)
    return program


# ---- what it is asked


@dataclass(frozen=True, eq=False)
class Case:
    """A model, and what is expected of it.

    Attributes:
        title: for the table.
        model: the bytes of a .tflite.
        bundle: which it is in, or whose decision it is judged by.
        dies: the runtime whose process it kills, if any.
    """

    title: str
    model: bytes
    bundle: Bundle
    dies: str = ""


@dataclass(frozen=True)
class Row:
    """What came out: cells of the table, and whether it is what lineside promises."""

    cells: tuple[str, ...]
    kept: bool


def make_bundles(run: Path) -> list[Bundle]:
    """A bundle for every scheme of the converter; the one that it would choose comes first."""
    work = HERE / "bundles"
    shutil.rmtree(work, ignore_errors=True)
    say("converting in every scheme")
    lineside("convert", run, "--out", work / "chosen", "--candidates", work / "all")
    found = [open_bundle(work / "chosen")]
    schemes = {found[0].manifest.model.scheme}
    for folder in sorted((work / "all").iterdir()):
        bundle = open_bundle(folder)
        if bundle.manifest.model.scheme not in schemes:
            schemes.add(bundle.manifest.model.scheme)
            found.append(bundle)
    return found


def make_cases(run: Path, cells: Path) -> list[Case]:
    """The converter's models, and dense layers as TensorFlow makes them by itself."""
    bundles = make_bundles(run)
    work = HERE / "models"
    work.mkdir(exist_ok=True)
    np.save(work / "calibration.npy", pictures(bundles[0], cells))
    say("making models with dense layers")
    script = Path(__file__).with_name("dense_models.py")
    command = [sys.executable, str(script), str(run), str(work / "calibration.npy"), str(work)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)

    def made(title: str, name: str, dies: str = "") -> Case:
        return Case(title, (work / f"{name}.tflite").read_bytes(), bundles[0], dies)

    return [
        *(Case(f"`{b.manifest.model.scheme}`", b.model, b) for b in bundles),
        made("int8, a scale for each output of the Dense layer", "run_channel"),
        made("int8, two Dense layers, one scale for each layer", "tensor"),
        made("int8, two Dense layers, a scale for each output", "channel", "tflite-runtime"),
    ]


def pictures(bundle: Bundle, cells: Path) -> npt.NDArray[np.uint8]:
    """The golden images, then real cells, as raw pixels of the model's input."""
    manifest, inspector = bundle.manifest, Inspector(bundle)
    golden = [
        inspector.tensor(golden_frame(g.file, bundle.files[g.file], manifest.preprocess))
        for g in manifest.golden
    ]
    files = [
        str(path.relative_to(cells))
        for folder in sorted(cells.iterdir())
        for path in sorted(folder.iterdir())[:CELLS]
    ]
    tensors = load_tensors(
        cells, files, manifest.preprocess, manifest.input_size, what="Reading cells"
    )
    return np.concatenate([np.stack(golden), tensors])


def question(case: Case, cells: Path) -> Question:
    """Whether the model answers elsewhere what ai-edge-litert answers here."""
    manifest, pixels = case.bundle.manifest, pictures(case.bundle, cells)
    feed, engine = make_feed(manifest.model.inputs[0]), open_engine(case.model)
    tensors = np.stack([feed(one) for one in pixels])
    values = ask(case.model, tensors).values
    if values is None:
        sys.exit(f"{case.title}: does not even run here")
    return Question(
        model=case.model,
        tensors=tensors,
        reference=engine.outputs[0].dequantize(values),
        output=engine.outputs[0],
        kind="class_logits",
        decision=manifest.decision,
        labels=manifest.labels,
        max_flips=1.0,
    )


def judge(case: Case, asked: Question, found: Checked) -> Row:
    """A row of the table.

    ai-edge-litert must give the same values: every step of an int8 output, and 1e-5 of a float
    one, whose sums may be taken in another order. tflite-runtime has other kernels: it must give
    the same verdicts, and the golden images must pass.
    """
    record, scale = found.record, asked.output.scale
    head = (case.title, f"{record.name} {record.version}")
    if found.logits is None:
        # What follows the first colon is the emulator's.
        said = record.note.partition(":")[0]
        return Row((*head, "", said, "", ""), kept=case.dies == record.name and "SIGSEGV" in said)
    apart = float(np.abs(found.logits - asked.reference).max())
    golden = golden_passes(case, found)
    kept = record.same_answers and golden != "fail" and case.dies != record.name
    if record.name == "ai-edge-litert":
        kept = kept and apart <= (scale / 2 if scale else 1e-5)
    cells = (
        "yes" if record.xnnpack else "no",
        f"{apart / scale:.0f} of 255 steps" if scale else f"{apart:.1g}",
        f"{record.images - record.flips} of {record.images}",
        golden,
    )
    return Row((*head, *cells), kept=kept)


def golden_passes(case: Case, found: Checked) -> str:
    """Whether the golden images, which come first, are within the steps that the bundle allows."""
    if found.values is None or case.model != case.bundle.model:
        return ""
    good = all(
        np.abs(values - golden.outputs[0]).max() <= golden.max_steps
        for values, golden in zip(found.values, case.bundle.manifest.golden, strict=False)
    )
    return "pass" if good else "fail"


def main() -> None:
    """Make the device, ask it, write the table."""
    made = {name.removeprefix("LINESIDE_TEST_").lower(): Path(p) for name, p in material().items()}
    make_system()
    wheel = build_wheel()
    pythons = {name: make_python(name, wheel) for name in RUNTIMES}
    rows = []
    for case in make_cases(made["run"], made["cells"]):
        asked = question(case, made["cells"])
        for name, python in pythons.items():
            say(f"asking {name}: {case.title}")
            (found,) = check(asked, [Place(command=(str(python),), runtime=name)])
            rows.append(judge(case, asked, found))
    write_section("arm64", "Emulated arm64", "make arm64", page(rows))
    broken = [" | ".join(row.cells) for row in rows if not row.kept]
    if broken:
        sys.exit("not as promised:\n" + "\n".join(broken))


def page(rows: list[Row]) -> str:
    """The section's text."""
    titles = ("model", "runtime", "XNNPACK", "largest difference", "same verdicts", "golden images")
    text = (
        "The same model and real images (a bundle's golden ones, and solar cells) in the wheels "
        "for arm64 under qemu's user-mode emulation of a Cortex-A72, compared with ai-edge-litert "
        "on x86-64, output by output: steps of an int8 one, units of a float one. Emulated times "
        "say nothing about a device's. Above, what `lineside convert` makes in each scheme; below, "
        "what TensorFlow's converter makes by itself: of models with a scale for each output of a "
        "Dense layer some run in tflite-runtime on arm64 and some kill it, which is why "
        "`--runtime tflite-runtime` refuses them."
    )
    head = [text, "", f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    return "\n".join([*head, *(f"| {' | '.join(row.cells)} |" for row in rows)])


if __name__ == "__main__":
    main()
