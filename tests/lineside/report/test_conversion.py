from __future__ import annotations

from dataclasses import replace

import numpy as np

from lineside.report.conversion import devices, layer_chart
from lineside.report.data import LayerError
from tests.lineside.report.scored import DEVICES, LAYERS, SCHEMES


def test_devices_come_once_each() -> None:
    assert devices(SCHEMES) == DEVICES
    assert devices(SCHEMES[3:]) == ()


def test_layers_that_lose_most_by_themselves_are_named() -> None:
    found = layer_chart(LAYERS)
    assert found.said[0] == (
        "Quantized by themselves, these cost most: block1/hard_swish (HARD_SWISH, 11.5\u00a0dB), "
        "logits (FULLY_CONNECTED, 19.5\u00a0dB) and block1/conv (CONV_2D, 41.0\u00a0dB)."
    )
    assert found.said[1:] == (
        "2 of 5 layers stay in float.",
        "1 of 5 layers is not run by XNNPACK, the quick way.",
    )
    assert [bar.is_worst for bar in found.bars] == [False, True, True, False, True]
    assert [bar.marks for bar in found.bars] == [
        *((), (), ("float", "not XNNPACK"), (), ("float",))
    ]


def test_without_such_a_measurement_the_lowest_ratios_are_named() -> None:
    layers = [replace(one, own_snr_db=None) for one in LAYERS]
    found = layer_chart(layers)
    assert found.said[0] == (
        "The lowest ratios are those of logits (FULLY_CONNECTED, 17.5\u00a0dB), "
        "mean (MEAN, 20.0\u00a0dB) and block1/hard_swish (HARD_SWISH, 21.5\u00a0dB)."
    )
    assert {bar.own_share for bar in found.bars} == {None}


def test_the_scale_holds_every_ratio() -> None:
    found = layer_chart(LAYERS)
    assert found.top == 60.0
    assert [bar.share * 60.0 for bar in found.bars] == [one.snr_db for one in LAYERS]
    assert [(bar.own_share or 0.0) * 60.0 for bar in found.bars] == [
        one.own_snr_db for one in LAYERS
    ]


def test_odd_ratios_are_drawn_at_the_ends() -> None:
    ratios = (120.0, np.inf, -np.inf, -3.0, 0.0)
    layers = [LayerError(layer=str(x), op="ADD", snr_db=x, own_snr_db=0.0) for x in ratios]
    found = layer_chart(layers)
    assert found.top == 60.0
    assert [bar.share for bar in found.bars] == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert [bar.own_share for bar in found.bars] == [0.0] * 5
    assert [bar.snr for bar in found.bars] == [
        *(
            ">\u00a0100\u00a0dB",
            ">\u00a0100\u00a0dB",
            "\u2212\u221e\u00a0dB",
            "\u22123.0\u00a0dB",
            "0.0\u00a0dB",
        )
    ]


def test_low_ratios_have_a_scale_of_their_own() -> None:
    assert layer_chart([LayerError(layer="a", op="ADD", snr_db=12.0)]).top == 40.0
    assert layer_chart([LayerError(layer="a", op="ADD", snr_db=42.0)]).top == 50.0


def test_nothing_is_blamed_where_nothing_was_lost() -> None:
    found = layer_chart([LayerError(layer="reshape", op="RESHAPE", snr_db=np.inf)])
    assert found.said == ()
    assert not found.bars[0].is_worst
