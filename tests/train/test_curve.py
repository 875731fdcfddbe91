"""The learning curve: that its law is found again, and that it says how little it knows."""

from __future__ import annotations

import numpy as np
import pytest

from lineside.report.recipe import curve_said
from lineside.run import CurveMetrics, SplitRow
from lineside_train.curve import fit_curve, plan_curve, power_law

PHOTOS = (100, 100, 200, 200, 400)


def answers(errors: list[float], val: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Right answers of trainings with these true errors; hard images are hard for all of them."""
    random = np.random.default_rng(seed)
    truth = np.arange(val) % 2
    hardness = random.random(val)
    return np.array([hardness >= error for error in errors]), truth


def law(a: float, b: float) -> list[float]:
    return [a * n**-b for n in PHOTOS]


def test_a_power_law_is_found_again() -> None:
    sizes = np.array([100.0, 200.0, 400.0])
    assert power_law(sizes, 3.0 * sizes**-0.4) == pytest.approx((3.0, 0.4))
    assert power_law(sizes, np.array([0.1, 0.2, 0.3]))[1] == 0.0  # it never gets worse
    assert power_law(sizes, 900.0 * sizes**-2.0)[1] == 1.0


@pytest.mark.parametrize("b", [0.0, 0.3, 0.6])
def test_the_true_gain_lies_in_the_interval(b: float) -> None:
    errors = law(0.3 * 100**b, b)
    true = errors[-1] * (1 - 2**-b)
    found = [fit_curve(PHOTOS, *answers(errors, 400, seed)) for seed in range(8)]
    held = [one.gain_interval[0] <= true + 1e-9 <= one.gain_interval[1] + 1e-3 for one in found]
    assert np.mean(held) >= 0.85
    assert np.mean([one.gain for one in found]) == pytest.approx(true, abs=0.02)


def test_fewer_images_of_val_say_less() -> None:
    errors = law(3.0, 0.5)
    few, many = (fit_curve(PHOTOS, *answers(errors, val)) for val in (40, 4000))
    widths = [np.ptp(one.gain_interval) for one in (few, many)]
    assert widths[0] > 3 * widths[1]


def test_no_error_at_all_is_not_taken_for_certain() -> None:
    found = fit_curve(PHOTOS, *answers([0.0] * 5, 40))
    assert found.balanced_accuracies == [1.0] * 5
    assert found.gain_interval[1] > 0.002
    assert found.gain < 0.02


def test_the_fit_is_a_forecast_with_ends() -> None:
    found = fit_curve(PHOTOS, *answers(law(3.0, 0.5), 400))
    photos, middle, low, high = np.array(found.fitted).T
    assert (photos[0], photos[-1]) == pytest.approx((100, 1600))
    assert (low <= middle).all()
    assert (middle <= high).all()
    assert middle[-1] > middle[0]
    assert fit_curve(PHOTOS, *answers(law(3.0, 0.5), 400)) == found


def test_subsets_are_nested_stratified_and_undivided() -> None:
    rows = [
        SplitRow(f"{label}/{n}.png", f"{label}{n:062}", "train")
        for label, count in (("bad", 40), ("ok", 80))
        for n in range(count)
    ]
    groups = {row.file: f"{row.label}{int(row.file.split('/')[1][:-4]) // 2}" for row in rows}
    plan = plan_curve(rows, 0, groups)
    assert [len(one) for one in plan] == [30, 30, 60, 60]
    assert set(plan[0]) | set(plan[1]) == set(plan[2])
    assert not set(plan[2]) & set(plan[3])
    for one in plan:
        files = {rows[k].file for k in one}
        assert sum(file.startswith("bad") for file in files) == len(files) / 3
        inside = {groups[file] for file in files}
        assert all(row.file in files for row in rows if groups[row.file] in inside)


def told(gain: float, low: float, high: float) -> str:
    curve = CurveMetrics(
        photos=[36, 36, 72, 72, 1440],
        balanced_accuracies=[0.8] * 5,
        fitted=[],
        gain=gain,
        gain_interval=[low, high],
    )
    return curve_said(curve)


def test_what_is_said_of_it() -> None:
    assert told(0.031, 0.012, 0.05) == (
        "Twice the 1,440 photos to learn from are expected to add 3.1 points of balanced accuracy "
        "(95 % interval 1.2 to 5.0): more photos will help."
    )
    assert "the curve is flat, more photos of the same kind" in told(0.002, 0.0, 0.009)
    assert "will probably help, but so few in val" in told(0.02, 0.0, 0.06)
    assert "probably little, but so few in val" in told(0.004, 0.0, 0.06)
