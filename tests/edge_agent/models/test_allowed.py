"""Which bundles a command may name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lineside.bundle import open_bundle
from lineside.errors import BundleError
from lineside.settings import ModelSettings, parse_settings
from lineside_agent.models.allowed import allowed_path, misfit
from tests.support import models


@pytest.fixture
def model(tmp_path: Path) -> ModelSettings:
    (tmp_path / "bundles" / "one").mkdir(parents=True)
    (tmp_path / "bundles-of-others" / "one").mkdir(parents=True)
    (tmp_path / "bundles" / "link").symlink_to(tmp_path / "bundles-of-others")
    (tmp_path / "bundles" / "inside").symlink_to("one")
    (tmp_path / "bundles" / "loop").symlink_to("loop")
    return ModelSettings(
        name="cells", bundle=str(tmp_path / "cells"), bundles=str(tmp_path / "bundles")
    )


def test_below_the_folder(model: ModelSettings, tmp_path: Path) -> None:
    one = tmp_path / "bundles" / "one"
    assert allowed_path("one", model) == one
    assert allowed_path("inside", model) == one
    assert allowed_path(str(one), model) == one
    assert allowed_path("../bundles/one", model) == one
    assert allowed_path("not-there-yet.zip", model) == tmp_path / "bundles" / "not-there-yet.zip"


def test_the_configurations_own(model: ModelSettings) -> None:
    assert allowed_path(None, model) == Path(model.bundle)
    assert allowed_path(model.bundle, model) == Path(model.bundle)


@pytest.mark.parametrize(
    "named",
    [
        "..",
        ".",
        "",
        "../cells",
        "../bundles-of-others/one",
        "link/one",
        "one/../../bundles-of-others/one",
        "/etc/passwd",
        "/",
        "a\0b",
        "x" * 5000,
    ],
)
def test_elsewhere(model: ModelSettings, named: str) -> None:
    with pytest.raises(BundleError, match=r"is refused: (it is no|a) path below .*/bundles"):
        allowed_path(named, model)


def test_a_loop_of_links(model: ModelSettings) -> None:
    # Before 3.13 Python refuses to resolve it, later it is what can't be opened.
    with pytest.raises(BundleError, match=r"no path below|is no bundle|can't be read"):
        open_bundle(allowed_path("loop/x", model))


def test_nothing_is_allowed_by_itself(tmp_path: Path) -> None:
    text = """
[station]
site = "ulm"
name = "press4"
[mqtt]
url = "mqtt://broker"
[[model]]
name = "cells"
bundle = "b"
{bundles}
[[camera]]
name = "top"
source = "images:x"
"""
    none = parse_settings(text.format(bundles=""), folder=tmp_path).model[0]
    with pytest.raises(BundleError, match="'cells': commands may not change its bundle; the conf"):
        allowed_path("b", none)
    with pytest.raises(BundleError, match="may not change"):
        allowed_path(None, none)
    some = parse_settings(text.format(bundles='bundles = "new"'), folder=tmp_path).model[0]
    assert allowed_path("b", some) == tmp_path / "new" / "b"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "measure"}, "it does 'measure', the one in use 'classify'"),
        (
            {"labels": [{"name": "defective", "good": False}, {"name": "ok", "good": True}]},
            r"its labels are defective \(bad\), ok \(good\), of the one in use defective ",
        ),
        (
            {"labels": [{"name": n, "good": True} for n in models.LABELS]},
            r"its labels are defective \(good\), functional \(good\), of",
        ),
    ],
)
def test_another_kind_of_model(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    old = models.plain(tmp_path / "old").manifest
    new = msgspec.convert(msgspec.to_builtins(old) | change, type(old))
    why = misfit(old, new)
    assert why is not None
    assert re.match(message, why)
    assert misfit(old, old) is None


def test_the_order_of_labels_is_the_models_own(tmp_path: Path) -> None:
    old = models.plain(tmp_path / "old").manifest
    turned = msgspec.structs.replace(old, labels=old.labels[::-1])
    assert misfit(old, turned) is None
