"""Files are moved, never deleted, never overwritten, and can be moved back."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.dataset import set_aside_folder
from lineside.errors import DatasetError
from lineside_train.data.setting_aside import put_back, set_aside


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a/1.png", "a/2.png", "b/deep/1.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_text(name)
    return tmp_path / "photos"


def test_there_and_back(photos: Path) -> None:
    before = contents(photos)
    moves = set_aside(photos, [("b/deep/1.png", "empty"), ("a/1.png", "a copy"), ("a/1.png", "x")])
    assert [(move.file, move.to, move.why) for move in moves] == [
        ("a/1.png", "a/1.png", "a copy"),
        ("b/deep/1.png", "b/deep/1.png", "empty"),
    ]
    assert set(contents(photos)) == {"a/2.png"}
    aside = contents(set_aside_folder(photos))
    assert aside.pop("moved.csv").decode() == (
        "file,to,why\na/1.png,a/1.png,a copy\nb/deep/1.png,b/deep/1.png,empty\n"
    )
    assert aside == {file: before[file] for file in ("a/1.png", "b/deep/1.png")}
    back, left = put_back(photos)
    assert (len(back), left) == (2, [])
    assert contents(photos) == before
    assert contents(set_aside_folder(photos)) == {"moved.csv": b"file,to,why\n"}


def test_another_run_adds_and_nothing_is_overwritten(photos: Path) -> None:
    set_aside(photos, [("a/1.png", "a copy")])
    (photos / "a" / "1.png").write_text("another one")
    (move,) = set_aside(photos, [("a/1.png", "again")])
    assert move.to == "a/1-2.png"
    aside = set_aside_folder(photos)
    assert (aside / "a/1.png").read_text() == "a/1.png"
    assert (aside / "a/1-2.png").read_text() == "another one"
    assert len((aside / "moved.csv").read_text().splitlines()) == 3
    back, left = put_back(photos)
    assert [one.to for one in back] == ["a/1.png"]
    assert [one.to for one in left] == ["a/1-2.png"], "its old place is taken: it stays, and listed"
    assert (aside / "a/1-2.png").read_text() == "another one"


def test_what_stood_in_the_way_before_stays(photos: Path) -> None:
    there = set_aside_folder(photos) / "a" / "2.png"
    there.parent.mkdir(parents=True)
    there.write_text("somebody's own")
    (move,) = set_aside(photos, [("a/2.png", "a copy")])
    assert move.to == "a/2-2.png"
    assert there.read_text() == "somebody's own"


def test_a_move_that_was_cut_off_can_be_undone(photos: Path) -> None:
    before = contents(photos)
    set_aside(photos, [("a/1.png", "a copy"), ("a/2.png", "a copy")])
    # As if the power had gone between the two: the list says both, one is still at its place.
    (set_aside_folder(photos) / "a/2.png").rename(photos / "a/2.png")
    back, left = put_back(photos)
    assert ([one.file for one in back], left) == (["a/1.png"], [])
    assert contents(photos) == before


def test_nothing_to_move_leaves_no_trace(photos: Path) -> None:
    assert set_aside(photos, []) == []
    assert not set_aside_folder(photos).exists()
    with pytest.raises(DatasetError, match=r"moved\.csv is not there: nothing was moved out of"):
        put_back(photos)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,to\n", "is damaged: file,to,why is expected in each line; move it away"),
        ("file,to,why\na,b\n", "is damaged: file,to,why is expected in each line"),
        ("file,to,why\n../../x,a,b\n", "lists '../../x', which lies outside of the folder"),
        ("file,to,why\na,/etc/passwd,b\n", "lists '/etc/passwd', which lies outside"),
    ],
)
def test_a_list_that_is_none(photos: Path, text: str, message: str) -> None:
    aside = set_aside_folder(photos)
    aside.mkdir()
    (aside / "moved.csv").write_text(text)
    before = contents(photos)
    for act in (lambda: put_back(photos), lambda: set_aside(photos, [("a/1.png", "x")])):
        with pytest.raises(DatasetError) as error:
            act()
        assert message in str(error.value)
    assert contents(photos) == before
