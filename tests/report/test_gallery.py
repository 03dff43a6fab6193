"""The page of pictures: each kind of picture is there, with a file that is one."""

import re
from typing import get_args

import pytest
from helpers import ROOT
from PIL import Image

from dlx.report.kinds import Kind

PAGE = (ROOT / "docs" / "pictures.md").read_text()
SHOWN = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", PAGE)


def test_each_kind_of_picture_has_its_place():
    assert set(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)) == set(get_args(Kind))


@pytest.mark.parametrize("path", [path for _, path in SHOWN])
def test_each_picture_is_a_file_small_enough_for_a_page(path):
    file = ROOT / "docs" / path
    with Image.open(file) as picture:
        assert min(picture.size) >= 100
        assert max(picture.size) <= 1600
    assert file.stat().st_size < 120_000


def test_no_picture_lies_there_unused_and_all_have_words():
    there = {f"pictures/{file.name}" for file in (ROOT / "docs" / "pictures").iterdir()}
    assert there == {path for _, path in SHOWN}
    assert all(len(words) > 20 for words, _ in SHOWN)
