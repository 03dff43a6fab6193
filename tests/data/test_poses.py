"""Stick figures, and where their joints are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dlx.data.generated.poses import JOINTS, LIMBS, Poses
from dlx.metrics import METRICS
from dlx.shapes import Shape


def peaks(maps: np.ndarray) -> np.ndarray:
    """Column and row (n, joints, 2) of the largest value of each map."""
    flat = maps.reshape(*maps.shape[:2], -1).argmax(2)
    return np.stack([flat % maps.shape[3], flat // maps.shape[3]], -1)


def test_each_map_has_one_spot_on_its_joint():
    source = Poses(train=50, noise=0, spot=1.5)
    joints = source._joints(np.full(50, 25.0), np.random.default_rng(3))
    part = source.load().train
    assert (part.x.shape, part.y.shape) == ((50, 1, 32, 32), (50, 11, 32, 32))
    assert source.facts().target == Shape((11, 32, 32))
    assert (part.y.max((2, 3)) > 0.89).all()  # at most half a pixel away on each axis: exp(-0.25 / 2.25) = 0.895
    assert part.y.sum((2, 3)) == pytest.approx(2 * np.pi * 1.5**2, rel=0.12)
    assert (joints >= 0.06 * 32 - 1e-9).all()
    assert (joints <= 31 - 0.06 * 32 + 1e-9).all()


def test_joints_lie_on_what_is_drawn():
    part = Poses(train=60, noise=0).load().train
    for picture, places in zip(part.x[:, 0], peaks(part.y), strict=True):
        assert (picture[places[:, 1], places[:, 0]] > 0.7).all()


def test_limbs_have_the_lengths_of_the_table():
    body = np.array([20.0, 30.0])
    joints = Poses(size=48)._joints(body, np.random.default_rng(0))
    for name, above, length, *_ in LIMBS:
        offset = joints[:, JOINTS.index(name)] - joints[:, JOINTS.index(above)]
        np.testing.assert_allclose(np.hypot(*offset.T), length * body)


def test_figures_stand_with_the_head_up_and_left_on_the_left():
    places = peaks(Poses(train=200, noise=0).load().train.y)
    at = {name: places[:, i] for i, name in enumerate(JOINTS)}
    assert (at["head"][:, 1] < at["neck"][:, 1]).all()
    assert (at["neck"][:, 1] < at["hip"][:, 1]).all()
    assert (at["left elbow"][:, 0] <= at["right elbow"][:, 0]).all()


def test_each_part_has_a_stream_of_its_own():
    few, many = (Poses(train=20, test=n, seed=3).load() for n in (5, 9))
    assert few.train.x.tobytes() == many.train.x.tobytes()
    assert few.test.x.tobytes() != few.train.x[:5].tobytes()


def test_the_distance_of_joints_by_hand():
    output, target = torch.zeros(2, 2, 6, 8), torch.zeros(2, 2, 6, 8)
    for maps, places in ((target, [(0, 0), (5, 7), (2, 2), (3, 3)]), (output, [(3, 4), (5, 7), (2, 4), (3, 3)])):
        for i, (row, column) in enumerate(places):
            maps[i // 2, i % 2, row, column] = 1
    distances = [5, 0, 2, 0]
    for kind, options, by_hand in (
        ("joint_distance", {}, sum(distances) / 4),
        ("pck", {"within": 2}, 3 / 4),
        ("pck", {"within": 1}, 2 / 4),
        ("pck", {"within": 5}, 1),
    ):
        meter = METRICS[kind](**options).meter(output, None)
        meter.update(output[:1], target[:1])
        meter.update(output[1:], target[1:])
        assert float(meter.compute()) == by_hand
