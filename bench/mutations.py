"""Ten thousand damaged .tflite files, each examined as `lineside convert FILE.tflite` does.

    python bench/mutations.py [--count N] [--seed N] [MODEL.tflite …]

Without models: a tiny one, and those of other makers in ../shared where they are. Each file has
bits flipped, its end cut off, or words changed where it holds no weights. Takes about 40 ms each
on one core.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from page import ROOT, write_section

from tests.support.mutations import STAGES, WAYS, Mutations, Tally
from tests.support.tiny import tiny_model

SHARED = ROOT.parent / "shared" / "models" / "works"
TITLES = {
    "flips": "1 to 16 bits flipped",
    "cut": "cut off",
    "word": "one word changed",
    "words": "2 to 8 words changed",
}
MEANING = """\
Refused by graph: the child process found it unusable by reading it, before any engine was given
it. By engine: LiteRT refused it, or its answers were no answers. Killed: it killed the process
that ran it. Hung: no answer within 30 s. Accepted: it loads, runs and answers with finite values
that depend on the picture; a file with a changed weight is a valid model of something else, which
only images with known answers can tell (parity, golden images), and a cut may take no more than the
archive of labels behind a model, which is noted. No process outside the fork that looked at the
file was harmed, and every refusal was one line."""


def main() -> None:
    """Examine them all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    models = {
        path.stem: path.read_bytes() for path in args.models or sorted(SHARED.glob("*.tflite"))
    }
    if not args.models:
        models["tiny"] = tiny_model((1, 16, 16, 1), "int8", scale=(1.0, -128))
    mutations = Mutations(models)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lineside-") as folder:
        tally = mutations.examine(mutations.draw(args.count, seed=args.seed), Path(folder))
    seconds = time.monotonic() - start
    unclear = [line for line in tally.reasons if not (line.isprintable() and len(line) < 450)]
    for mutant, outcome in tally.killers:
        print(f"{mutant}: {outcome.reason}")
    if unclear:
        sys.exit(f"refusals that are no clear line: {unclear[:5]}")
    text = f"{args.count} mutants of {len(models)} files ({', '.join(sorted(models))}), "
    text += f"{seconds:.0f} s with 2 processes.\n\n{MEANING}\n\n{table(tally)}"
    write_section("mutations", "Damaged .tflite files", "make fuzz", text)


def table(tally: Tally) -> str:
    """How many ended where, for each way of damaging them, in Markdown."""
    heads = ["refused by graph", "refused by engine", "killed", "hung", "accepted"]
    rows = [f"| | {' | '.join(heads)} |", "| --- " * (len(heads) + 1) + "|"]
    for way in WAYS:
        counts = [str(tally.outcomes[way, stage]) for stage in STAGES]
        rows.append(f"| {TITLES[way]} | {' | '.join(counts)} |")
    rows.append(f"| all | {' | '.join(str(tally.of_stage(stage)) for stage in STAGES)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
