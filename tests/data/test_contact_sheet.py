"""One sheet of pictures: headings, captions of several lines, pictures of several sizes."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlx.data.images.contact_sheet import LARGEST, LINE, MARGIN, Section, Tile, check_suffix, save
from dlx.errors import DataError


def sheet_of(folder: Path, sections: list[Section], across: int = 4) -> np.ndarray:
    save(folder / "a.png", sections, across)
    with Image.open(folder / "a.png") as image:
        return np.asarray(image).astype(int)


def tile(height: int, width: int, value: float = 0.5) -> Tile:
    return Tile(np.full((1, height, width), value, np.float32))


def ink(sheet: np.ndarray) -> list[bool]:
    """Whether each row of pixels of the first cell has a letter, all of which are black."""
    return (sheet[:, :100].min((1, 2)) < 100).tolist()


@pytest.mark.parametrize("lines", [1, 2, 4])
def test_a_caption_has_its_lines_above_its_picture(tmp_path, lines):
    sheet = sheet_of(tmp_path, [Section("", [("\n".join(["H"] * lines), [tile(96, 96)])])])
    top = lines * LINE + MARGIN
    grey = (sheet == 128).all(-1)
    assert grey[top : top + 96, MARGIN : MARGIN + 96].all()
    assert grey.sum() == 96 * 96
    begins = [row for row, (before, here) in enumerate(pairwise(ink(sheet))) if here and not before]
    assert len(begins) == lines
    assert [b - a for a, b in pairwise(begins)] == [LINE] * (lines - 1)


def test_captions_do_not_run_into_each_other(tmp_path):
    """A caption that is wider than its picture widens the cell."""
    narrow = sheet_of(tmp_path, [Section("", [("a", [tile(96, 10)]), ("b", [tile(96, 10)])])])
    wide = sheet_of(tmp_path, [Section("", [("a" * 60, [tile(96, 10)]), ("b", [tile(96, 10)])])])
    assert wide.shape[1] > 2 * narrow.shape[1]
    left = np.flatnonzero((wide == 128).all(-1).any(0))
    gap = np.flatnonzero(np.diff(left) > 1)[0]
    letters = np.flatnonzero((wide[:LINE].min((0, 2)) < 200)[: left[gap + 1]])
    assert left[gap] < letters.max() < left[gap + 1] - MARGIN + 1


def test_sections_stand_below_each_other_under_their_headings(tmp_path):
    sections = [Section("valid a", [("x", [tile(96, 96, 0.25)])]), Section("", [("y", [tile(96, 48, 0.75)] * 2)] * 3)]
    sheet = sheet_of(tmp_path, sections, across=2)
    first, second = (np.flatnonzero((sheet == value).all(-1).sum(1) >= 96) for value in (64, 191))
    assert first[0] == LINE + MARGIN + LINE + MARGIN
    assert len(first) == 96
    assert second[0] > first[-1]
    assert len(second) == 2 * 96  # two lines of examples, of two and of one


def test_large_pictures_are_reduced_by_a_whole_factor(tmp_path):
    columns = np.tile(np.array([0, 1], np.float32), 600)
    sheet = sheet_of(tmp_path, [Section("", [("x", [Tile(np.broadcast_to(columns, (1, 300, 1200)))])])])
    assert LARGEST < 1200 / 2  # three columns a pixel: a third or two thirds of white
    shades = np.unique(sheet[LINE + MARGIN + 5, MARGIN : MARGIN + 400])
    assert shades.tolist() == [85, 170]


def test_letters_beyond_ascii_are_written(tmp_path):
    """What the font lacks is one box, the same for all of it."""
    headers = [sheet_of(tmp_path, [Section("", [(text, [tile(96, 96)])])])[:LINE].tobytes() for text in "äéß…Ωж"]
    assert len(set(headers)) == 6


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "b.c.Png"])
def test_the_suffix_may_have_capital_letters(tmp_path, name):
    check_suffix(Path(name))
    save(tmp_path / name, [Section("", [("x", [tile(8, 8)])])])
    with Image.open(tmp_path / name) as image:
        assert image.format == "PNG"


@pytest.mark.parametrize("name", ["a.jpg", "png", ".png"])
def test_another_suffix_is_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"does not end in \.png"):
        save(tmp_path / name, [])
    assert not list(tmp_path.iterdir())


def test_matplotlib_is_not_imported(tmp_path):
    """Its font is, as a file."""
    code = f"""
import sys
import numpy as np
from pathlib import Path
from dlx.data.images.contact_sheet import Section, Tile, save, _font
save(Path({str(tmp_path / "a.png")!r}), [Section("ä", [("b", [Tile(np.zeros((1, 8, 8), np.float32))])])])
assert "matplotlib" not in sys.modules
assert _font().getname()[0] == "DejaVu Sans"
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
