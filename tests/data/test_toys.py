"""Points in the plane, and curves."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from dlx.data import DATASETS, Split
from dlx.data.generated.curves import Curve
from dlx.data.generated.toys import XOR, Blobs, Circles, Moons, Spirals, Toy

TOYS = sorted(kind for kind in DATASETS if issubclass(DATASETS[kind], Toy))


def train(source: Toy) -> Split:
    return source.load().train


@pytest.mark.parametrize("kind", TOYS)
def test_more_test_examples_leave_the_others_as_they_are(kind):
    small, large = (DATASETS[kind](train=40, valid=10, test=n).load() for n in (None, 50))
    assert small.test is None
    for name in ("train", "valid"):
        np.testing.assert_array_equal(getattr(small, name).x, getattr(large, name).x)
        np.testing.assert_array_equal(getattr(small, name).y, getattr(large, name).y)
    assert len({part.x.tobytes() for part in (large.train, large.valid, large.test)}) == 3


@pytest.mark.parametrize(
    "kind", sorted(set(TOYS) - {"curve", "delayed_copy", "digit_strokes", "poses", "scenes", "shapes", "waves"})
)
def test_the_classes_are_equally_frequent_and_in_no_order(kind):
    y = train(DATASETS[kind](train=301)).y
    sizes = np.bincount(y)
    assert sizes.max() - sizes.min() <= 1
    assert len(np.flatnonzero(np.diff(y))) > 50


def on_moons(points: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far points are from the half circle of their class."""
    upper, lower = points - [0, 0], points - [1, 0.5]
    far = np.where(y == 0, np.hypot(*upper.T) - 1, np.hypot(*lower.T) - 1)
    return np.abs(far) + np.maximum(0, np.where(y == 0, -upper[:, 1], lower[:, 1]))


def test_moons_lie_where_those_of_scikit_learn_do():
    datasets = pytest.importorskip("sklearn.datasets")
    theirs = datasets.make_moons(200, noise=None)
    ours = train(Moons(noise=0))
    assert on_moons(*theirs).max() < 1e-6
    assert on_moons(ours.x, ours.y).max() < 1e-6
    assert abs(ours.x.mean(0) - theirs[0].mean(0)).max() < 0.1


def test_circles_lie_where_those_of_scikit_learn_do():
    datasets = pytest.importorskip("sklearn.datasets")
    theirs = datasets.make_circles(200, noise=None, factor=0.5)
    for x, y in (theirs, (train(Circles(noise=0)).x, train(Circles(noise=0)).y)):
        np.testing.assert_allclose(np.hypot(*x.T), np.where(y == 0, 1, 0.5), rtol=1e-6)


def test_an_arm_of_a_spiral_turns_as_it_should():
    part = train(Spirals(noise=0, classes=3))
    radius = np.hypot(*part.x.T.astype(float))
    wanted = 2 * np.pi * part.y / 3 + 4 * radius
    np.testing.assert_allclose(part.x, radius[:, None] * np.stack([np.sin(wanted), np.cos(wanted)], 1), atol=1e-5)
    assert 0.99 < radius.max() <= 1


def test_a_linear_map_names_the_class_of_no_spiral_but_of_far_blobs():
    def accuracy(part: Split) -> float:
        x = np.concatenate([part.x, np.ones((len(part), 1))], 1)
        answers = x @ np.linalg.lstsq(x, np.eye(3)[part.y], rcond=None)[0]
        return (answers.argmax(1) == part.y).mean()

    assert accuracy(train(Spirals())) < 0.65
    assert accuracy(train(Blobs(seed=1))) > 0.9


def test_blobs_have_the_same_centres_in_every_part():
    source = Blobs(classes=4, features=5, std=0.1, train=400, test=400)
    for part in (source.load().train, source.load().test):
        for k, centre in enumerate(source.centres()):
            np.testing.assert_allclose(part.x[part.y == k].mean(0), centre, atol=0.05)
    assert abs(source.centres()).max() <= 10


@pytest.mark.parametrize("bits", [2, 5])
def test_the_class_is_the_parity_of_the_bits(bits):
    part = train(XOR(bits=bits, noise=0))
    assert set(np.unique(part.x)) == {0, 1}
    np.testing.assert_array_equal(part.x.sum(1) % 2, part.y)
    assert len(np.unique(part.x, axis=0)) == 2**bits


@pytest.mark.parametrize("source", [Moons(noise=0.3, train=20000), Circles(noise=0.3, train=20000)])
def test_noise_is_of_the_deviation_asked_for(source):
    clean = train(source.model_copy(update={"noise": 0.0}))
    np.testing.assert_allclose((train(source).x - clean.x).std(0), 0.3, rtol=0.03)


@pytest.mark.parametrize(
    ("function", "x", "y"),
    [
        ("sine", 0.25, 1),
        ("step", 0.5, 1),
        ("step", 0.49, 0),
        ("sinc", 0.0, 1),
        ("sinc", 0.5, 2 / np.pi),
        ("bend", 0.2, 0.3),
        ("line", 0.2, 0.2),
        ("square", 0.2, 0.04),
        ("cube", 0.2, 0.008),
        ("wave", 0.25, 1 - 1 / 3),
    ],
)
def test_curves_worked_by_hand(function, x, y):
    assert Curve(function=function).f(np.array([x]))[0] == pytest.approx(y)


def test_targets_are_on_the_curve_up_to_noise():
    part = train(Curve(function="wave", low=-1, high=2, noise=0.2, train=20000))
    assert (part.x.min() < -0.99, part.x.max() > 1.99) == (True, True)
    assert (part.y - Curve(function="wave").f(part.x.astype(float))).std() == pytest.approx(0.2, rel=0.03)


def test_the_inverse_tells_x_from_y():
    there, back = (train(Curve(inverse=inverse)) for inverse in (False, True))
    np.testing.assert_array_equal(there.x, back.y)
    np.testing.assert_array_equal(there.y, back.x)


def test_an_interval_that_runs_backwards_is_refused():
    sentence = "x runs from `low` 1 to `high` 0: give the smaller number first"
    with pytest.raises(ValidationError, match=sentence):
        Curve(low=1, high=0)
