"""One of several augmentations, drawn for each example."""

import pytest
import torch
from batches import made, numbered, same
from complaints import report
from test_specs import MASKS, job, spec, text

from dlx.augment.colours import Pixels
from dlx.augment.pipeline import TrainingSetInfo, pipeline
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.graph import trace

LEFT = {"horizontal_flip": 1.0}
DOWN = {"vertical_flip": 1.0}
HARMLESS = "[{one_of: {of: [horizontal_flip, {gaussian_noise: 0.3}, {rotate: 20}], weights: [2, 1, 1]}}]"


def augmented(x, *of, y=None, seed=0, world=None, **more):
    """A batch after one of several, and its targets."""
    torch.manual_seed(seed)
    step = made("one_of", of=list(of), **more)
    return pipeline([step], world or TrainingSetInfo(lambda: x))(x, torch.arange(len(x)) if y is None else y)


def which(found, *choices):
    """Of each example, the choice that it is."""
    return [[torch.equal(one, choice) for choice in choices].index(True) for one in found]


def test_each_example_is_changed_by_one_of_them_and_by_no_other():
    x = numbered(1, 3, 4)
    found, _ = augmented(same(x, 1000), LEFT, DOWN)
    taken = which(found, x.flip(-1), x.flip(-2))

    assert set(taken) == {0, 1}
    assert sum(taken) == pytest.approx(500, abs=4 * 16)  # four deviations of 1000 draws


def test_weights_say_how_likely_each_is():
    x = numbered(1, 3, 4)
    found, _ = augmented(same(x, 4000), LEFT, DOWN, {"cutout": 1}, weights=[6, 3, 1])
    left, down = (sum(torch.equal(one, x.flip(axis)) for one in found) for axis in (-1, -2))

    assert left == pytest.approx(2400, abs=4 * 31)
    assert down == pytest.approx(1200, abs=4 * 29)


def test_a_draw_is_a_uniform_number_held_against_the_weights():
    """The witness: the same numbers from torch, before any of the augmentations draws."""
    x = numbered(1, 3, 4)
    found, _ = augmented(same(x, 50), LEFT, DOWN, seed=7, weights=[1, 3])
    torch.manual_seed(7)

    assert which(found, x.flip(-1), x.flip(-2)) == (torch.rand(50) >= 1 / 4).long().tolist()


def test_maps_go_the_way_of_their_example_and_labels_stay():
    x = numbered(1, 3, 4)
    maps = x[0].long() % 5
    found, moved = augmented(same(x, 40), LEFT, DOWN, {"cutout": 1}, y=same(maps, 40))
    for one, target in zip(found, moved, strict=True):
        turned = [axis for axis in (-1, -2) if torch.equal(one, x.flip(axis))]
        assert torch.equal(target, maps.flip(turned[0]) if turned else maps)
    _, labels = augmented(same(x, 40), LEFT, DOWN)
    assert torch.equal(labels, torch.arange(40))


def test_one_may_stand_inside_another():
    x = numbered(1, 3, 4)
    found, _ = augmented(same(x, 4000), LEFT, {"one_of": [DOWN, {"cutout": 1}]})
    left, down = (sum(torch.equal(one, x.flip(axis)) for one in found) for axis in (-1, -2))

    assert left == pytest.approx(2000, abs=4 * 32)
    assert down == pytest.approx(1000, abs=4 * 28)


def test_preprocessing_is_undone_for_colours_alone():
    """Values from 0 to 1 were doubled and moved by 1; a brightness of exactly 0.5 halves what they were."""
    plain = torch.rand(60, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    seen = Pixels(torch.tensor(0.5), torch.tensor(-0.5))
    x = 2 * plain + 1
    darker = {"color_jitter": {"brightness": [0.5, 0.5]}}
    found, _ = augmented(x, darker, LEFT, world=TrainingSetInfo(lambda: x, seen))
    for one, before in zip(found, plain, strict=True):
        assert torch.allclose(one, before + 1) or torch.equal(one, 2 * before.flip(-1) + 1)


# --- in a spec ------------------------------------------------------------------------------------------------------


def test_all_of_them_may_make_another_size(tmp_path):
    crops = "[{one_of: [{crop: 6}, {resized_crop: 6}]}]"
    assert tuple(trace(spec(tmp_path, crops)).inputs["input"]) == (3, 6, 6)
    masks = job(tmp_path, crops, MASKS, "[{conv: {out_channels: 4, kernel_size: 1}}]")
    x, y = masks.parts["train"].take(torch.arange(5)).fields.values()
    assert (x.shape, y.shape) == ((5, 1, 6, 6), (5, 6, 6))


def test_the_place_of_what_does_not_fit_is_reported(tmp_path):
    message = report(tmp_path, text("[horizontal_flip, {one_of: [horizontal_flip, {crop: 99}]}]"))
    assert message.startswith("s.yaml:8:30  train.augment.1.one_of\n  crop wants 99x99 out of 8x8"), message


def test_colours_among_them_want_brightness(tmp_path):
    with pytest.raises(SpecError) as error:
        runner.prepare(spec(tmp_path, "[{one_of: [horizontal_flip, {color_jitter: {contrast: 0.4}}]}]"))
    assert "color_jitter changes brightness from 0 to 1, and the data goes from -3.71 to 3.44" in str(error.value)


def test_a_training_with_it_comes_out_the_same_again(tmp_path):
    first, again = (runner.run(spec(tmp_path, HARMLESS), tmp_path / name) for name in ("first", "again"))
    assert first.metrics == again.metrics
    assert first.metrics != runner.run(spec(tmp_path), tmp_path / "plain").metrics
