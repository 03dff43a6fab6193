"""Warps, against pictures turned, moved and stretched by hand."""

import pytest
import torch
from batches import after, made, numbered
from torch.nn import functional as F

from dlx.augment.pipeline import TrainingSetInfo, pipeline, runs
from dlx.augment.smooth import smoothing

X = torch.rand(4, 2, 5, 5, generator=torch.Generator().manual_seed(0))


def near(a, b, within=1e-5):
    return torch.allclose(a, b, atol=within)


@pytest.mark.parametrize("turns", [-1, 0, 1, 2])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_a_rotation_by_quarters_is_torchs_rot90(turns, mode):
    turned = after("rotate", X, degrees=[90.0 * turns] * 2, interpolation=mode)
    assert near(turned, torch.rot90(X, turns, (2, 3)))


def test_a_translation_moves_by_whole_pixels():
    """A fifth of five pixels is one, to either side or none."""
    moved = after("translate", numbered(1, 1, 5, 5).expand(300, 1, 5, 5), translate=[0.2, 0.0])
    firsts = moved[:, 0, 0].round().unique(dim=0).tolist()
    assert firsts == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [2, 3, 4, 5, 0]]


def test_a_signal_is_translated_and_stretched():
    x = numbered(1, 1, 4)
    assert near(after("scale", x, factor=[1.0, 1.0]), x)
    scaled = after("scale", x, factor=[2.0, 2.0])
    assert near(scaled, torch.tensor([[[1.75, 2.25, 2.75, 3.25]]]))
    ways = after("translate", x.expand(100, 1, 4), translate=0.25).round()
    assert ways.unique(dim=0).flatten(1).tolist() == [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 0]]


def test_twice_as_large_shows_the_middle():
    large = after("scale", X, factor=[2.0, 2.0])
    assert near(large[:, :, 2, 2], X[:, :, 2, 2])
    assert near(large, _sampled(X, 2.0))


def _sampled(x, factor):
    """Positions by hand: that at i looks at the middle and (i - middle) / factor."""
    n = x.shape[-1]
    at = (torch.arange(n) - (n - 1) / 2) / factor + (n - 1) / 2
    low = at.floor().long().clamp(0, n - 2)
    part = at - low
    rows = x[:, :, low] * (1 - part)[:, None] + x[:, :, low + 1] * part[:, None]
    return rows[..., low] * (1 - part) + rows[..., low + 1] * part


def test_a_shear_by_45_degrees_moves_each_row_by_its_distance_from_the_middle():
    sheared, zero = after("shear", X, shear=[45.0, 45.0]), torch.zeros(4, 2)
    for row in range(5):
        looks = [column + row - 2 for column in range(5)]
        wanted = torch.stack([X[:, :, row, at] if 0 <= at < 5 else zero for at in looks], -1)
        assert near(sheared[:, :, row], wanted)
    down = after("shear", X, shear=[0.0, 0.0, 45.0, 45.0])
    looks = [row + 1 for row in range(5)]  # a column right of the middle
    assert near(down[:, :, :, 3], torch.stack([X[:, :, at, 3] if at < 5 else zero for at in looks], -1))


def test_affine_with_one_part_is_that_part():
    pairs = [
        ({"degrees": [90, 90]}, "rotate", {"degrees": [90, 90]}),
        ({"degrees": 0, "scale": [1.5, 1.5]}, "scale", {"factor": [1.5, 1.5]}),
        ({"degrees": 0, "shear": [20, 20]}, "shear", {"shear": [20, 20]}),
    ]
    for options, kind, same in pairs:
        assert near(after("affine", X, **options), after(kind, X, **same))


def test_an_elastic_distortion_of_strength_0_is_no_distortion():
    assert near(after("elastic", X, alpha=0.0), X)


def test_an_elastic_distortion_is_smooth_and_of_its_strength():
    torch.manual_seed(0)
    x = torch.zeros(200, 1, 29, 29)
    field = made("elastic").field(x)
    rough = torch.rand(200, 29, 29) * 2 - 1
    steps = (field[:, 1:] - field[:, :-1]).std() / field.std()

    assert field.shape == (200, 29, 29, 2)
    assert field.mean().abs() < 0.1
    # uniform noise has 1/sqrt(3), of which a blur of deviation s leaves 1/(2 s sqrt(pi)), away from borders
    assert field[:, 12:17, 12:17].std().item() == pytest.approx(34 / 3**0.5 / (8 * torch.pi**0.5), rel=0.1)
    assert steps < 0.3 < (rough[:, 1:] - rough[:, :-1]).std() / rough.std()


def test_a_blur_keeps_what_is_constant_and_mirrors_borders():
    down = smoothing(7, 1.3, torch.device("cpu"))
    assert near(down.sum(1), torch.ones(7))
    taps = torch.exp(-0.5 * (torch.arange(-6, 7) / 1.3) ** 2)
    wide = F.pad(torch.eye(7)[None], (6, 6), mode="reflect")[0]
    by_hand = torch.stack([F.conv1d(row[None, None], (taps / taps.sum())[None, None])[0, 0] for row in wide]).T
    assert near(down, by_hand, 1e-6)


def test_corners_from_outside_are_filled():
    filled = after("rotate", torch.ones(3, 1, 9, 9), degrees=[45, 45], fill=-2.0)
    assert filled[:, 0, 0, 0].tolist() == [-2.0] * 3
    assert near(filled[:, 0, 4, 4], torch.ones(3))


def test_warps_in_a_row_are_one_look_and_what_differs_is_another():
    steps = [made("rotate", degrees=10), made("shear", shear=5), made("elastic"), made("scale", factor=[1, 2])]
    assert [[s.kind for s in run] for run in runs(steps)] == [["rotate", "shear", "elastic"], ["scale"]]
    other = [made("rotate", degrees=10), made("rotate", degrees=10, fill=1.0), made("horizontal_flip")]
    assert [len(run) for run in runs(other)] == [1, 1, 1]


def test_one_look_is_what_both_warps_do_one_after_the_other():
    """A quarter turn and then twice as wide at the middle; exact, as each looks at whole pixels."""
    turn, move = made("rotate", degrees=[90, 90]), made("affine", degrees=[180, 180])
    both = pipeline([turn, move], TrainingSetInfo(lambda: X))(X, torch.zeros(4))[0]
    assert near(both, torch.rot90(X, 3, (2, 3)))


def test_masks_take_the_nearest_class():
    mask = torch.randint(4, (4, 5, 5))
    change = pipeline([made("rotate", degrees=[90, 90])], TrainingSetInfo(lambda: X, outside_class=-100))
    _, moved = change(X, mask)
    assert torch.equal(moved, torch.rot90(mask, 1, (1, 2)))
    _, turned = pipeline([made("rotate", degrees=[45, 45])], TrainingSetInfo(lambda: X, outside_class=-100))(X, mask)
    assert turned[:, 0, 0].tolist() == [-100] * 4
    assert set(turned.flatten().tolist()) <= {-100, 0, 1, 2, 3}


def test_maps_of_values_move_as_the_inputs_do():
    _, moved = pipeline([made("rotate", degrees=20)], TrainingSetInfo(lambda: X))(X, X.clone())
    torch.manual_seed(1)
    x, moved = pipeline([made("rotate", degrees=20)], TrainingSetInfo(lambda: X))(X, X.clone())
    assert torch.equal(x, moved)


# --- resized crop ---------------------------------------------------------------------------------------------------


def test_a_resized_crop_of_everything_is_the_picture():
    assert near(after("resized_crop", X, scale=[1.0, 1.0], ratio=[1.0, 1.0]), X)


def test_a_resized_crop_is_a_piece_brought_to_its_size():
    """A quarter of the area and a square: one of the pieces of 4x4 of 8x8, as torch enlarges them."""
    x = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    found = after("resized_crop", x, scale=[0.25, 0.25], ratio=[1.0, 1.0])
    seen = set()
    for one, made_of in zip(found, x, strict=True):
        pieces = {
            (i, j): F.interpolate(made_of[None, :, i : i + 4, j : j + 4], size=8, mode="bilinear")[0]
            for i in range(5)
            for j in range(5)
        }
        hits = [place for place, piece in pieces.items() if near(one, piece)]
        assert len(hits) == 1
        seen.add(hits[0])
    assert len(seen) > 10


def test_pieces_have_the_areas_and_the_shapes_that_are_asked_for():
    from dlx.augment.erase import random_boxes

    torch.manual_seed(0)
    h, w, fits = random_boxes(torch.zeros(5000, 1, 100, 100), [0.1, 0.3], [0.5, 2.0], strictly=False)
    area, ratio = (h * w / 1e4).float(), (h / w).float()

    assert fits.all()
    assert 0.095 < area.min() < area.max() < 0.305
    assert area.mean().item() == pytest.approx(0.2, abs=0.005)
    assert ratio.log().mean().item() == pytest.approx(0, abs=0.03)
    assert 0.48 < ratio.min() < ratio.max() < 2.1
