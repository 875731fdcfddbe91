"""The explanations of a run's report: of the network just trained, and its test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lineside.decision import Decision, is_sorting
from lineside.manifest import DecisionSpec, Label
from lineside.report import Culprit, Explanation, Explanations
from lineside_train.explain.influence import most_common, most_harmful
from lineside_train.explain.layers import LastLayers
from lineside_train.fitting.examples import Examples

COMMON: Final = 8
"""Training images that are shown for coming up again and again."""

_MAPS: Final = (
    "On the right of each picture, the picture as the model saw it, with what speaks for the label "
    "that it was called: the brighter, the more (class activation map, Zhou et al. 2016, which for "
    "this kind of network is the same as Grad-CAM). It shows where the model looked, not whether "
    "that was right."
)
_NO_MAPS: Final = (
    "There is no map of where this model looks: each hidden unit of mlp sees all pixels at once, "
    "so that nothing in it has a place."
)
_PULLS: Final = (
    "Below each mistake, the training images that did most for it, with the labels that they were "
    "taught as: an estimate, from the last layer alone (influence function, Koh and Liang 2017). "
    "Begin with one whose label is wrong, or that looks like the mistake."
)


@dataclass(frozen=True, eq=False)
class Photos:
    """Images as the network sees them, and what people call them.

    Attributes:
        examples: pixels and true labels.
        files: their names.
    """

    examples: Examples
    files: Sequence[str]


class Explainer:
    """Says of test images why they were answered so.

    Args:
        network: the trained Keras model.
        train: what it learned from.
        test: what is to be explained.
        labels: in the order of the logits.
        decision: temperature and limits.
        weights: of each label in the training's loss.
    """

    def __init__(
        self,
        network: Any,  # noqa: ANN401 - Keras ships no types
        train: Photos,
        test: Photos,
        labels: Sequence[Label],
        decision: DecisionSpec,
        weights: npt.NDArray[np.floating],
    ) -> None:
        self._layers = LastLayers(network)
        self._train, self._test, self._labels = train, test, labels
        embedding = self._layers.embed(test.examples.tensors)
        logits = self._layers.logits(embedding)
        self._called = logits.argmax(axis=1)
        doubtful = _doubtful(logits, test.examples.truth, labels, decision)
        known = self._layers.embed(train.examples.tensors)
        found = most_harmful(
            (known, self._layers.logits(known), train.examples.truth),
            (embedding[doubtful], logits[doubtful], test.examples.truth[doubtful]),
            weights,
        )
        self._culprits = dict(zip(doubtful.tolist(), found, strict=True))

    @property
    def explanations(self) -> Explanations:
        """For a report."""
        common = most_common(list(self._culprits.values()), COMMON)
        return Explanations(
            explain=self.explain,
            maps=_MAPS if self._layers.has_maps else _NO_MAPS,
            pulls=_PULLS,
            common=[self._culprit(index, times) for index, times in common],
        )

    def explain(self, indices: Sequence[int]) -> list[Explanation]:
        """Why some test images were answered so.

        Args:
            indices: of the test images.
        """
        chosen = np.asarray(indices, np.int64)
        pixels = self._test.examples.tensors[chosen]
        heat = self._layers.heat(pixels, self._called[chosen]) if self._layers.has_maps else None
        return [
            Explanation(
                pixels=pixels[row],
                heat=None if heat is None else heat[row],
                culprits=[self._culprit(one) for one in self._culprits.get(index, ())],
            )
            for row, index in enumerate(chosen.tolist())
        ]

    def _culprit(self, index: int, times: int = 0) -> Culprit:
        label = self._labels[int(self._train.examples.truth[index])].name
        return Culprit(self._train.files[index], label, times)


def _doubtful(
    logits: npt.NDArray[np.floating],
    truth: npt.NDArray[np.int64],
    labels: Sequence[Label],
    decision: DecisionSpec,
) -> npt.NDArray[np.int64]:
    """The images with a wrong label or verdict, and those for review."""
    decide = Decision(decision, labels)
    verdicts = np.array([decide(row).verdict for row in logits])
    wanted = np.array(["ok" if label.good else "ng" for label in labels])[truth]
    wrong = logits.argmax(axis=1) != truth
    return np.flatnonzero(wrong | (verdicts != ("ok" if is_sorting(labels) else wanted)))
