"""What specs without labels claim, by scikit-learn on the same data; three seeds meet it, and broken twins do not."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from helpers import SHIPPED
from quality import all_of, bounds, unmet
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import Ridge

from dlx.experiment import session
from dlx.objectives import OBJECTIVES, Ports
from dlx.shapes import Shape
from dlx.spec import load
from dlx.training.fit import fit
from dlx.training.prepared import prepare

NAMES = ("zoo/jigsaw", "zoo/relative-position", "zoo/colourisation", "zoo/context-encoder")


def end_of(name: str, *changes: str) -> dict[str, float]:
    *_, end = fit(session.job_of(prepare(load(SHIPPED[name], ["+track.mlflow=false", *changes]))))
    return end.metrics


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_three_seeds_meet_the_claims(name, seed):
    assert not unmet(name, end_of(name, f"train.seed={seed}"))


@pytest.mark.parametrize("name", NAMES)
def test_an_untrained_network_meets_none(name):
    assert unmet(name, end_of(name, "train.steps=1")) == all_of(name)


ONE_PIXEL = tuple(
    f"network.layers.conv_{i}.conv={{out_channels: {count}, kernel_size: 1}}"
    for i, count in enumerate((16, 32, 32, 32), 1)
)
LINEAR = tuple(f"network.layers.relu_{i}=identity" for i in (1, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("zoo/relative-position", ("network.layers.both.from=[twin, twin]",)),
        ("zoo/relative-position", ("network.layers.both.from=[trunk, trunk]",)),
        ("zoo/colourisation", ONE_PIXEL),
        ("zoo/context-encoder", LINEAR),
    ],
    ids=["no first patch", "no second patch", "no neighbours", "linear"],
)
def test_with_a_part_left_out_they_are_not_met(name, changes):
    assert unmet(name, end_of(name, *changes)) == all_of(name)


@pytest.mark.slow
def test_pieces_that_lie_as_they_were_tell_no_order(monkeypatch):
    monkeypatch.setattr(OBJECTIVES["jigsaw"], "shuffled", lambda self, x, order: x)
    assert unmet("zoo/jigsaw", end_of("zoo/jigsaw", "train.steps=100")) == all_of("zoo/jigsaw")


def parts(name):
    sets = load(SHIPPED[name]).data.load()
    return sets.train.x, sets.test.x


def test_jigsaws_by_the_normal_density_of_a_piece_at_each_place():
    """Pieces for themselves, without the lines that go on from one to another: the likeliest of the 24 orders."""
    train, test = (x.reshape(-1, 2, 4, 2, 4).transpose(0, 1, 3, 2, 4).reshape(-1, 4, 16) for x in parts("zoo/jigsaw"))
    fitted = QuadraticDiscriminantAnalysis(reg_param=0.1)
    fitted.fit(train.reshape(-1, 16), np.tile(np.arange(4), len(train)))
    density = fitted.predict_log_proba(test.reshape(-1, 16)).reshape(-1, 4, 4)
    orders = list(permutations(range(4)))
    likely = np.stack([sum(density[:, piece, at] for at, piece in enumerate(order)) for order in orders], 1)
    found = float((likely.argmax(1) == orders.index((0, 1, 2, 3))).mean())
    assert bounds("zoo/jigsaw")["test/accuracy"]["at_least"] == pytest.approx(found, abs=2e-3)


def test_sides_of_patches_by_the_second_patch_alone():
    patch = Shape((1, 2, 2))
    ports = Ports({"center": patch, "neighbor": patch}, {})
    one = OBJECTIVES["relative_position"]().informed({}, {"network": ports})

    def draws(x, times, seed):
        rng = torch.Generator().manual_seed(seed)
        _, second, side = one.patches(torch.from_numpy(x).repeat(times, 1, 1, 1), rng)
        return second.flatten(1).numpy(), side.numpy()

    train, test = parts("zoo/relative-position")
    forest = RandomForestClassifier(50, min_samples_leaf=20, random_state=0).fit(*draws(train, 8, 0))
    found = forest.score(*draws(test, 20, 1))
    claimed = bounds("zoo/relative-position")["test/accuracy"]["at_least"]
    assert claimed > found + 1.5 * (found * (1 - found) / len(test)) ** 0.5


def test_colours_by_the_lightness_of_their_own_pixel():
    one = OBJECTIVES["colourisation"]()
    (seen, colour), (other, right) = (one.parts(torch.from_numpy(x)) for x in parts("zoo/colourisation"))
    errors = []
    for axis in (0, 1):
        trees = HistGradientBoostingRegressor(max_iter=50, random_state=0)
        trees.fit(seen.reshape(-1, 1)[::7].numpy(), colour[:, axis].reshape(-1)[::7].numpy())
        errors.append(((trees.predict(other.reshape(-1, 1).numpy()) - right[:, axis].flatten().numpy()) ** 2).mean())
    claimed = bounds("zoo/colourisation")["test/mse"]["at_most"]
    assert claimed == pytest.approx(np.mean(errors) / 2, rel=0.02)


def test_a_hole_by_linear_regression_on_the_rest():
    hole = np.zeros((8, 8), bool)
    hole[2:6, 2:6] = True
    train, test = (x[:, 0] for x in parts("zoo/context-encoder"))
    fitted = [Ridge(alpha).fit(train[:, ~hole], train[:, hole]) for alpha in (0.01, 0.1, 1, 10)]
    errors = [((one.predict(test[:, ~hole]) - test[:, hole]) ** 2).mean() for one in fitted]
    assert bounds("zoo/context-encoder")["test/mse"]["at_most"] == pytest.approx(0.9 * min(errors), abs=2e-4)
