"""Scenes and their captions."""

import numpy as np
import pytest

from dlx.data.generated.scenes import COLOURS, KINDS, Scenes
from dlx.data.text.fields import text_fields


def test_a_caption_tells_what_is_in_its_picture():
    source = Scenes(size=32, noise=0, train=200, test=None)
    part = source.load().train
    relations = set()
    for picture, numbers in zip(part.x, part.y, strict=True):
        first, _, *relation, second, _ = (text := source.caption_of(numbers).split())
        relations.add(" ".join(relation))
        rows, columns = np.nonzero(picture.any(0))
        half = rows < 16 if relation == ["above"] else columns < 16
        assert 0.25 < half.mean() < 0.75
        for there, colour in ((half, first), (~half, second)):
            seen = picture[:, rows[there], columns[there]]
            assert (seen == np.array(COLOURS[colour])[:, None]).all(), text
    assert relations == {"above", "left of"}


def test_forms_are_those_of_the_caption():
    """A square fills its box, a circle most of it, a triangle half."""
    source = Scenes(size=64, noise=0, train=150, test=None)
    part = source.load().train
    filled = {"circle": [], "square": [], "triangle": []}
    for picture, numbers in zip(part.x, part.y, strict=True):
        text = source.caption_of(numbers).split()
        rows, columns = np.nonzero(picture.any(0))
        first = rows < 32 if text[2] == "above" else columns < 32
        box = (np.ptp(rows[first]) + 1) * (np.ptp(columns[first]) + 1)
        filled[text[1]].append(first.sum() / box)
    assert min(filled["square"]) == 1
    assert 0.7 < min(filled["circle"]) <= max(filled["circle"]) < 0.95
    assert 0.4 < min(filled["triangle"]) <= max(filled["triangle"]) < 0.68


def test_pairs_of_the_test_are_new_and_their_figures_are_not():
    source = Scenes(train=3000, valid=300, test=300)
    train, valid, test = (
        {tuple(one) for one in source.sampled(2000, np.random.default_rng(0), test=held).kinds.tolist()}
        for held in (False, False, True)
    )
    assert train == valid
    assert not train & test
    assert len(train | test) == len(KINDS) ** 2
    assert len(test) == round(0.2 * len(KINDS) ** 2)
    for place in (0, 1):
        assert {pair[place] for pair in test} <= {pair[place] for pair in train}
    sets = source.load()
    captions = [{tuple(y) for y in part.y.tolist()} for part in (sets.train, sets.valid, sets.test)]
    assert captions[1] <= captions[0]
    assert not captions[0] & captions[2]


def test_the_caption_so_far_is_the_caption_one_place_later():
    sets = Scenes(train=50, test=20).load()
    for part in (sets.train, sets.test):
        before, caption = part.more["before"], part.y
        assert (before[:, 0] == 1).all()
        assert ((before[:, 1:] == caption[:, :-1]) | (caption[:, 1:] < 0)).all()
        ends = (caption == 2).sum(1)
        assert (ends == 1).all()


def test_what_the_plan_knows_is_what_is_loaded():
    source = Scenes(train=60, test=20)
    facts, sets = source.facts(), source.load()
    assert sets.fields == facts.fields
    text = text_fields(sets.reading)["caption"]
    assert text.tokenizer.names == facts.texts["caption"].names == facts.fields["caption"].names
    assert len(text.tokenizer.names) == 3 + 4 + 3 + 3


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_share_of_pairs_that_are_held_out(share):
    source = Scenes(held_out=share)
    assert len(source.pairs[1]) == round(share * 144)
    assert sorted(np.concatenate(source.pairs)) == list(range(144))
