"""Flips, crops and shifts, each against what is done by hand."""

import pytest
import torch
from batches import after, kinds_of, made, numbered, same
from torch.nn import functional as F

PICTURE = numbered(1, 3, 3)


def test_a_horizontal_flip_of_three_by_three():
    flipped = after("horizontal_flip", PICTURE[None], p=1.0)
    assert flipped[0, 0].tolist() == [[3, 2, 1], [6, 5, 4], [9, 8, 7]]


def test_a_vertical_flip_of_three_by_three():
    flipped = after("vertical_flip", PICTURE[None], p=1.0)
    assert flipped[0, 0].tolist() == [[7, 8, 9], [4, 5, 6], [1, 2, 3]]


def test_a_signal_runs_backwards():
    assert after("horizontal_flip", numbered(1, 1, 4), p=1.0)[0, 0].tolist() == [4, 3, 2, 1]


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_each_example_is_flipped_by_itself_with_its_probability(p):
    flipped = after("horizontal_flip", same(PICTURE, 4000), p=p)[:, 0, 0, 0] == 3
    assert flipped.float().mean().item() == pytest.approx(p, abs=0.03)


def test_a_crop_with_padding_takes_every_place_equally_often():
    found = after("crop", same(PICTURE, 5000), padding=1)
    wide = F.pad(PICTURE, (1, 1, 1, 1))
    places = [wide[:, i : i + 3, j : j + 3] for i in range(3) for j in range(3)]
    counts = [(found == place).all(dim=3).all(dim=2).all(dim=1).sum().item() for place in places]

    assert sum(counts) == 5000
    assert all(abs(count - 5000 / 9) < 120 for count in counts)


def test_a_smaller_crop_is_a_piece_of_what_came_in():
    pieces = kinds_of(after("crop", same(PICTURE, 500), size=2))
    assert pieces == {(1, 2, 4, 5), (2, 3, 5, 6), (4, 5, 7, 8), (5, 6, 8, 9)}


@pytest.mark.parametrize(("mode", "corner"), [("constant", 7.0), ("reflect", 5.0), ("replicate", 1.0)])
def test_what_padding_holds(mode, corner):
    """The piece that lies in the upper left corner: 7 is the fill, 5 is mirrored at 1, 1 is the border."""
    found = after("crop", same(PICTURE, 200), size=3, padding=1, padding_mode=mode, fill=7.0)
    corners = found[(found[:, 0, 1, 1] == 1) & (found[:, 0, 1, 2] == 2)]
    assert corners[:, 0, 0, 0].unique().tolist() == [corner]


def test_a_crop_of_a_signal_and_of_a_volume():
    assert kinds_of(after("crop", same(numbered(1, 4), 100), size=3)) == {(1, 2, 3), (2, 3, 4)}
    assert after("crop", torch.rand(5, 2, 4, 5, 6), size=[3, 2, 6]).shape == (5, 2, 3, 2, 6)


def test_without_padding_and_size_a_crop_is_all_of_it():
    x = torch.rand(5, 2, 4, 4)
    assert torch.equal(after("crop", x), x)


def test_nielsens_shift_stays_or_goes_one_pixel_to_one_of_four_sides():
    found = after("shift", same(PICTURE, 2000))
    left, right = (2, 3, 0, 5, 6, 0, 8, 9, 0), (0, 1, 2, 0, 4, 5, 0, 7, 8)
    up, down = (4, 5, 6, 7, 8, 9, 0, 0, 0), (0, 0, 0, 1, 2, 3, 4, 5, 6)
    stays = tuple(range(1, 10))

    assert kinds_of(found) == {stays, left, right, up, down}
    counts = [sum(tuple(one.flatten().tolist()) == kind for one in found) for kind in (stays, left, up)]
    assert all(abs(count - 400) < 80 for count in counts)


def test_a_signal_shifts_left_or_right():
    assert kinds_of(after("shift", same(numbered(1, 3), 100), pixels=2, fill=9.0)) == {
        (1, 2, 3),
        (3, 9, 9),
        (9, 9, 1),
    }


def test_masks_move_with_what_they_are_of_and_keep_their_type():
    x = torch.rand(50, 2, 6, 6)
    mask = (x[:, 0] > 0.5).long()
    for kind, options in (("horizontal_flip", {}), ("crop", {"padding": 2, "size": 5}), ("shift", {})):
        torch.manual_seed(0)
        move = made(kind, **options).draw(x)
        moved, along = move(x, 0.0), move(mask[:, None], 0.0)[:, 0]
        assert along.dtype == torch.int64
        assert torch.equal((moved[:, 0] > 0.5).long(), along)
