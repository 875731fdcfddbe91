"""The schemes' grammar: what is legal, and what is said of what is not."""

from __future__ import annotations

import importlib

import pytest
from click.testing import CliRunner

from lineside.errors import InputError
from lineside_convert.command import convert
from lineside_convert.scheme import SCHEMES, Scheme, parse_scheme

LEGAL = {
    "float32": Scheme("float32"),
    "float16": Scheme("float16"),
    "weights_wi8_af32": Scheme("weights_wi8_af32"),
    "static_wi8_ai8": Scheme("static_wi8_ai8"),
    "static_wi8_ai8+float(dense)": Scheme("static_wi8_ai8", ("dense",)),
    "static_wi8_ai8+float(HARD_SWISH)": Scheme("static_wi8_ai8", ("HARD_SWISH",)),
    "static_wi8_ai8+float(conv2d_3,net/a.b:0;c-d)": Scheme(
        "static_wi8_ai8", ("conv2d_3", "net/a.b:0;c-d")
    ),
}


@pytest.mark.parametrize("text", LEGAL)
def test_what_is_legal_is_printed_back(text: str) -> None:
    assert parse_scheme(text) == LEGAL[text]
    assert str(parse_scheme(text)) == text


def test_a_layer_is_named_once() -> None:
    assert str(parse_scheme("static_wi8_ai8+float(b,a,b)")) == "static_wi8_ai8+float(b,a)"


@pytest.mark.parametrize(
    "text",
    [
        "", "int8", "FLOAT32", " float32", "float32\n", "static_wi8_ai8+", "static_wi8_ai8+float",
        "static_wi8_ai8+float()", "static_wi8_ai8+float(a,)", "static_wi8_ai8+float(a b)",
        "static_wi8_ai8+float(a),b", "static_wi8_ai8+float16(a)", "auto+float(a)", "unchanged",
        "static_wi8_ai8+float(" + 201 * "a" + ")",
    ],
)  # fmt: skip
def test_what_is_not_is_told_what_is(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_scheme(text)
    assert str(caught.value) == (
        f"--scheme {text!r} is refused: float32, float16, weights_wi8_af32, static_wi8_ai8, "
        "static_wi8_ai8+float(LAYER,…) or auto is expected"
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("base", ["float32", "float16", "weights_wi8_af32"])
def test_only_static_leaves_layers_in_float(base: str) -> None:
    with pytest.raises(InputError, match="only static_wi8_ai8 leaves layers in float"):
        parse_scheme(f"{base}+float(dense)")


@pytest.mark.parametrize("name", SCHEMES)
def test_the_makers_are_there(name: str) -> None:
    where, what = SCHEMES[name]
    module, _, function = where.partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert what
    assert parse_scheme(name).calibrated is name.startswith("static")


def test_the_help_knows_them() -> None:
    said = " ".join(CliRunner().invoke(convert, ["--help"]).output.split())
    for name in (*SCHEMES, "static_wi8_ai8+float(LAYER,…)", "unchanged", "auto"):
        assert name in said
