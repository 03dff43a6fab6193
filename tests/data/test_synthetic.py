"""Random examples."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from dlx.data.generated.synthetic import Synthetic
from dlx.errors import DataError


def least_squares_accuracy(source: Synthetic) -> float:
    """How often a linear map, fitted to the training part, names the class of a test example."""
    sets = source.load()
    flat = [part.x.reshape(len(part), -1) for part in (sets.train, sets.test)]
    weight = np.linalg.lstsq(flat[0], np.eye(source.classes)[sets.train.y], rcond=None)[0]
    return (np.argmax(flat[1] @ weight, 1) == sets.test.y).mean()


def test_the_shape_can_stand_alone():
    assert Synthetic.first_field() == "shape"
    assert Synthetic(shape=[3, 32, 32]).facts().input == (3, 32, 32)


def test_a_linear_teacher_can_be_learned_and_chance_cannot():
    assert least_squares_accuracy(Synthetic(shape=[2, 5], classes=3)) > 0.85
    assert least_squares_accuracy(Synthetic(shape=[2, 5], classes=3, rule="random")) < 0.5


def test_values_of_a_linear_teacher_are_a_linear_map_of_the_inputs():
    sets = Synthetic(shape=[6], target=[2, 2]).load()
    weight, _, _, _ = np.linalg.lstsq(sets.train.x, sets.train.y.reshape(-1, 4), rcond=None)
    np.testing.assert_allclose(sets.test.x @ weight, sets.test.y.reshape(-1, 4), atol=1e-4)
    assert sets.train.y.dtype == np.float32
    wide = Synthetic(shape=[500], target=[50]).load().train
    assert abs(wide.y.std() - 1) < 0.05


def test_values_from_nowhere_have_the_shape_asked_for():
    sets = Synthetic(shape=[4], target=[3], rule="random", valid=7).load()
    assert (sets.train.y.shape, sets.valid.y.shape) == ((1000, 3), (7, 3))
    assert sets.class_names == ()


def test_more_test_examples_leave_the_others_as_they_are():
    small, large = (Synthetic(shape=[3], test=n).load() for n in (None, 500))
    assert small.test is None
    np.testing.assert_array_equal(small.train.x, large.train.x)
    np.testing.assert_array_equal(small.train.y, large.train.y)


def test_parts_do_not_repeat_each_other():
    sets = Synthetic(shape=[3], train=50, valid=50, test=50).load()
    assert len({part.x.tobytes() for part in (sets.train, sets.valid, sets.test)}) == 3


def test_every_class_occurs():
    for rule in ("linear", "random"):
        assert set(Synthetic(shape=[20], rule=rule).load().train.y.tolist()) == set(range(10))


def test_classes_and_values_exclude_each_other():
    with pytest.raises(
        ValidationError, match=r"`classes` 5 and `target` \[2\] exclude each other: give one of the two"
    ):
        Synthetic(shape=[3], classes=5, target=[2])
    with pytest.raises(
        ValidationError, match=r"examples have `classes: N` or `target: \[shape\]`: give one of the two"
    ):
        Synthetic(shape=[3], classes=None)
    assert Synthetic(shape=[3], classes=None, target=[2]).facts().target == (2,)


@pytest.mark.parametrize("huge", [2**30, 2**62])
def test_more_than_fits_into_memory_is_reported(huge):
    with pytest.raises(DataError, match=r"PB while they are drawn, and .* are free"):
        Synthetic(shape=[huge, 3], train=2**20).load()
    with pytest.raises(DataError, match="GiB, which is not to be had"):
        Synthetic(shape=[64, 64], train=2, classes=huge).load()
    with pytest.raises(ValidationError, match=r"beyond 9,223,372,036,854,775,807 \(2\^63 - 1\)"):
        Synthetic(shape=[2**100, 3])
    with pytest.raises(DataError) as raised:
        Synthetic(shape=[2**10, 2**5], train=2, test=0, classes=2**42).load()
    assert str(raised.value) == (
        "  2 inputs of shape (1024, 32), their targets and teacher take 536,903,680.0 GiB, which is not to be had\n"
        "  Ask for fewer examples or `classes`, or a smaller shape."
    )


def test_a_map_has_a_class_at_each_position_that_the_teacher_gives():
    source = Synthetic(shape=[1, 2, 3], classes=4, positions=[2, 3], train=300)
    facts, sets = source.facts(), source.load()
    assert (facts.classes, facts.target) == (4, (2, 3))
    assert sets.train.y.shape == (300, 2, 3)
    assert sets.train.y.dtype == np.int64
    assert set(np.unique(sets.train.y)) == {0, 1, 2, 3}
    flat = sets.train.x.reshape(300, 6)
    weight = np.linalg.lstsq(flat, np.eye(4)[sets.train.y].reshape(300, -1), rcond=None)[0]
    said = (sets.test.x.reshape(-1, 6) @ weight).reshape(-1, 2, 3, 4).argmax(-1)
    assert (said == sets.test.y).mean() > 0.7
    assert Synthetic(shape=[1, 2, 3], classes=4, positions=[2, 3], rule="random").load().test.y.shape == (200, 2, 3)


def test_positions_of_values_are_refused():
    with pytest.raises(ValidationError, match="`positions` have classes, and `target` is for values"):
        Synthetic(shape=[4], target=[2], positions=[2])
