"""What holds for every augmentation there is."""

import pytest
import torch
from batches import made

from dlx.augment import AUGMENTATIONS, Mixing
from dlx.augment.pipeline import TrainingSetInfo, pipeline
from dlx.augment.tokens import OfTokens
from dlx.errors import ShapeError
from dlx.shapes import Shape

SHAPES = {1: (12,), 2: (2, 12), 3: (3, 12, 10), 4: (2, 6, 8, 10)}
OPTIONS = {
    "crop": {"padding": 2},
    "rotate": {"degrees": 30},
    "translate": {"translate": 0.2},
    "shear": {"shear": 20},
    "scale": {"factor": [0.7, 1.4]},
    "affine": {"degrees": 10, "translate": 0.1, "scale": [0.8, 1.2], "shear": 5},
    "color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "cutout": {"length": 3},
    "time_mask": {"size": 3},
    "frequency_mask": {"size": 2},
    "time_stretch": {"n_fft": 8},
    "pitch_shift": {"n_fft": 8},
    "one_of": {"of": [{"gaussian_noise": 0.1}, {"gaussian_noise": 0.3}]},
}
FLOATS = [kind for kind in AUGMENTATIONS if not issubclass(AUGMENTATIONS[kind], OfTokens)]
"""Those of numbers; those of tokens are in test_tokens.py."""
CASES = [(kind, rank) for kind in FLOATS for rank in AUGMENTATIONS[kind].ranks]
WITHIN = {
    *("horizontal_flip", "vertical_flip", "crop", "shift", "rotate", "translate", "shear", "scale", "affine"),
    *("elastic", "resized_crop", "gaussian_blur", "color_jitter", "cutout", "random_erasing", "mixup", "cutmix"),
}
"""What keeps values from 0 to 1 there."""


def batch(rank, count=40):
    return torch.rand(count, *SHAPES[rank], generator=torch.Generator().manual_seed(1))


def changed(kind, x, y=None):
    y = torch.arange(len(x)) if y is None else y
    step = made(kind, **OPTIONS.get(kind, {}))
    return pipeline([step], TrainingSetInfo(lambda: x))(x, y)


@pytest.mark.parametrize(("kind", "rank"), CASES)
def test_the_shape_is_as_declared_the_type_stays_and_all_is_finite(kind, rank):
    x = batch(rank)
    before = x.clone()
    found, _ = changed(kind, x)
    declared = made(kind, **OPTIONS.get(kind, {})).output_shape(Shape(SHAPES[rank]))

    assert tuple(found.shape) == (len(x), *declared)
    assert found.dtype == x.dtype
    assert found.device == x.device
    assert torch.isfinite(found).all()
    assert torch.equal(x, before)  # the data set itself stays as it is
    if kind in WITHIN:
        assert -1e-5 <= found.min() <= found.max() <= 1 + 1e-5


@pytest.mark.parametrize(("kind", "rank"), CASES)
def test_the_same_seed_gives_the_same_batch_and_another_one_another(kind, rank):
    x = batch(rank)
    torch.manual_seed(5)
    first, _ = changed(kind, x)
    torch.manual_seed(5)
    again, _ = changed(kind, x)
    others = [changed(kind, x)[0] for _ in range(5)]

    assert torch.equal(first, again)
    assert not all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize(("kind", "rank"), CASES)
def test_each_example_has_a_draw_of_its_own_where_the_paper_does_not_say_otherwise(kind, rank):
    if issubclass(AUGMENTATIONS[kind], Mixing):
        pytest.skip("one draw for a batch, as in its paper")
    torch.manual_seed(2)
    found, _ = changed(kind, batch(rank, 1).expand(40, *SHAPES[rank]).contiguous())
    assert len({tuple(one.flatten().tolist()) for one in found}) > 1


@pytest.mark.parametrize(("kind", "rank"), CASES)
def test_labels_of_examples_stay_with_them(kind, rank):
    x = batch(rank)
    _, y = changed(kind, x)
    first = y.first if issubclass(AUGMENTATIONS[kind], Mixing) else y
    assert torch.equal(first, torch.arange(40))


@pytest.mark.parametrize("kind", sorted(FLOATS))
def test_other_shapes_are_refused_with_both_sides(kind):
    ranks = AUGMENTATIONS[kind].ranks
    for rank in set(SHAPES) - set(ranks):
        with pytest.raises(ShapeError) as refused:
            made(kind, **OPTIONS.get(kind, {})).output_shape(Shape(SHAPES[rank]))
        message = str(refused.value)
        assert f"{kind} is for " in message
        assert f"and what comes in is {Shape(SHAPES[rank])}" in message
    with pytest.raises(ShapeError, match=f"{kind} changes floats, and the data gives .* of dtype int"):
        made(kind, **OPTIONS.get(kind, {})).output_shape(Shape(SHAPES[ranks[0]], "int"))


@pytest.mark.parametrize("kind", sorted(AUGMENTATIONS))
def test_every_page_has_a_source_and_every_field_a_description(kind):
    cls = AUGMENTATIONS[kind]
    assert "Source: " in (cls.__doc__ or "")
    assert all(info.description for info in cls.model_fields.values())
