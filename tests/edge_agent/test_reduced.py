"""A stream whose model takes reduced JPEGs: its tensors are those of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.bundle import open_bundle
from lineside.inspect import inspect_files
from lineside.inspector import Inspector
from lineside.messages import Result, encode
from lineside.settings import CameraSettings, StationSettings
from lineside_agent.models.loading import Place
from lineside_agent.models.slot import Slot
from lineside_agent.sources import make_source
from lineside_agent.stream import Stream
from tests.support.broker import wait_for
from tests.support.bundles import edit_manifest, with_model
from tests.support.examples import BOOT
from tests.support.pictures import colourful, photo


@pytest.fixture
def inspector(bundle_folder: Path, tmp_path: Path) -> Inspector:
    model = open_bundle(bundle_folder).model
    copy = with_model(bundle_folder, tmp_path / "bundle", model).path
    edit_manifest(copy, lambda found: found["inputs"][0]["preprocess"].update(decode={"reduce": 4}))
    return Inspector(open_bundle(copy))


def test_a_stream_says_what_inspect_says(inspector: Inspector, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(6):
        kind, suffix = ("PNG", "png") if n == 5 else ("JPEG", "jpg")
        data = photo(colourful(501, 643, seed=n), kind)
        (folder / f"{n}.{suffix}").write_bytes(data)
    camera = CameraSettings(name="cam0", source=f"images:{folder}")
    place = Place(StationSettings(site="ulm", name="press4"), BOOT, "top", camera)
    results: list[Result] = []

    def put(result: Result, *, wait: bool, journal: int | None = None) -> bool:
        assert wait
        assert journal is None
        result.seq = len(results) + 1
        encode(result)
        results.append(result)
        return True

    slot = Slot(place.post(inspector, 1.0), None, lambda _: None)
    stream = Stream(slot, make_source(camera), "frame", put)
    stream.source.open()
    stream.start()
    wait_for(lambda: stream.ended)
    stream.stop()
    assert stream.failure is None
    expected = list(inspect_files(inspector, sorted(folder.iterdir())))
    assert [(r.verdict, r.score) for r in results] == [(e.verdict, e.score) for e in expected]
    assert {r.inputs[0].size for r in results} == {(643, 501)}
