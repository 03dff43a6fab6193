"""Colourisation: L*a*b* by CIE's figures, squares and answers by hand, losses, and what is refused."""

import math

import numpy as np
import pytest
import torch
from helpers import experiment_of

from dlx.data.batch import Batch
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.graph import trace_all
from dlx.objectives import OBJECTIVES, Ports
from dlx.objectives.lab import lab_of, rgb_of
from dlx.shapes import Shape

KIND = OBJECTIVES["colourisation"]
SPEC = """
name: c
data: {synthetic: {shape: [3, 4, 4], classes: 3, train: 40, valid: 8}}
network:
  inputs: {lightness: [1, 4, 4]}
  layers: [{conv: {out_channels: 8, kernel_size: 3, padding: 1}}, relu, {conv: {out_channels: 2, kernel_size: 1}}]
objective: {colourisation: {spacing: null}}
train: {epochs: 3, batch_size: 8, save_every: 1, log_every: 1, optimizer: {adam: 1e-2}, device: cpu}
track: {mlflow: false}
"""
# L*, a* and b* of sRGB under D65, as in the tables of Lindbloom's CIE colour calculator
PUBLISHED = {
    (1, 1, 1): (100, 0, 0),
    (0, 0, 0): (0, 0, 0),
    (1, 0, 0): (53.24, 80.09, 67.20),
    (0, 1, 0): (87.73, -86.18, 83.18),
    (0, 0, 1): (32.30, 79.19, -107.86),
    (0.5, 0.5, 0.5): (53.39, 0, 0),
}


@pytest.mark.parametrize("xp", [np, torch])
@pytest.mark.parametrize("rgb", PUBLISHED)
def test_colours_have_their_published_places(xp, rgb):
    channels = [xp.asarray([float(one)]) for one in rgb]
    found = lab_of(xp, *channels)
    assert [float(one[0]) for one in found] == pytest.approx(PUBLISHED[rgb], abs=0.02)
    assert [float(one[0]) for one in rgb_of(xp, *found)] == pytest.approx(rgb, abs=1e-4)


def test_lab_and_back_is_the_same_colour():
    rgb = torch.rand(3, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    back = torch.stack(rgb_of(torch, *lab_of(torch, *rgb)))
    torch.testing.assert_close(back, rgb, rtol=0, atol=1e-5)


def test_every_colour_lies_in_a_square_and_each_square_has_a_colour():
    one = KIND(spacing=10)
    rgb = torch.rand(4000, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    _, colour = one.parts(rgb)
    number = one.square_of(colour)[:, 0, 0]
    centres = torch.from_numpy(one.squares)[number] * 10
    assert float((centres - colour[:, :, 0, 0]).abs().max()) <= 5 + 3  # a few colours lie a little beyond the lattice
    assert float(((centres - colour[:, :, 0, 0]).abs() <= 5).all(1).float().mean()) > 0.995
    assert len({tuple(square) for square in one.squares.tolist()}) == len(one.squares)
    assert [0, 0] in one.squares.tolist()
    assert len(KIND(spacing=20).squares) < len(one.squares) / 3


def informed(channels=1, **options):
    shape = Shape((channels, 2, 2))
    return KIND(**options).informed({}, {"network": Ports({"input": shape}, {})})


@pytest.mark.parametrize("channels", [1, 3])
def test_the_network_sees_lightness_alone(channels):
    one, seen = informed(channels, spacing=None), []
    x = torch.rand(5, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    one.evaluate(lambda _, y: seen.append(y) or torch.zeros(5, 2, 2, 2), Batch({"input": x}), torch.Generator())
    lightness = lab_of(torch, *x.unbind(1))[0] / 100
    assert tuple(seen[0].shape) == (5, channels, 2, 2)
    assert all(torch.equal(seen[0][:, k], lightness) for k in range(channels))


def test_losses_and_metrics_by_hand():
    red = torch.zeros(1, 3, 2, 2)
    red[:, 0] = 1
    batch, rng = Batch({"input": red}), torch.Generator()
    a, b = 80.09, 67.20
    numbers = informed(spacing=None).evaluate(lambda *_: torch.zeros(1, 2, 2, 2), batch, rng)
    assert float(numbers["loss"]) == pytest.approx((a**2 + b**2) / 2 / 1e4, rel=1e-3)
    assert float(numbers["mse"]) == float(numbers["grey_mse"]) == pytest.approx((a**2 + b**2) / 2, rel=1e-3)
    answer = torch.tensor([a, b]).view(1, 2, 1, 1).expand(1, 2, 2, 2) / 100
    right = informed(spacing=None).evaluate(lambda *_: answer, batch, rng)
    assert float(right["mse"]) < 1e-3

    one = informed(spacing=10)
    number = one.squares.tolist().index([8, 7])  # 80 and 70
    logits = torch.zeros(1, len(one.squares), 2, 2)
    logits[:, number] = 30.0
    logits[:, number, 0, 0] = 0.0
    found = one.evaluate(lambda *_: logits, batch, rng)
    assert float(found["loss"]) == pytest.approx(math.log(len(one.squares)) / 4, rel=1e-4)
    assert float(found["accuracy"]) == 0.75  # of equal ones the first is taken, which is not this
    middle = one.squares.mean(0) * 10  # where nothing is known the mean of all squares
    away = [(middle[0] - a) ** 2, (middle[1] - b) ** 2, *[(80 - a) ** 2, (70 - b) ** 2] * 3]
    assert float(found["mse"]) == pytest.approx(sum(away) / 8, rel=1e-3)


def test_a_lower_temperature_goes_to_the_likelier_square():
    one, other = informed(spacing=50, temperature=1.0), informed(spacing=50, temperature=0.1)
    logits = torch.full((1, len(one.squares), 1, 1), -50.0)
    logits[:, 0], logits[:, -1] = 0.0, math.log(3)
    first, last = (torch.tensor(one.squares[i] * 50.0, dtype=torch.float32) for i in (0, -1))
    torch.testing.assert_close(one.colour_of(logits)[0, :, 0, 0], 0.25 * first + 0.75 * last)
    share = 3**10 / (1 + 3**10)
    torch.testing.assert_close(other.colour_of(logits)[0, :, 0, 0], (1 - share) * first + share * last)


def test_pictures_are_shown_with_their_lightness_and_the_answer():
    x = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    one = informed(spacing=None)
    right = one.parts(x)[1] / 100
    shown = one.pictures(lambda *_: right, Batch({"input": x}), 4, torch.Generator())["colours"]
    assert tuple(shown.shape) == (3, 4, 3, 2, 2)
    torch.testing.assert_close(shown[2], x, atol=1e-3, rtol=0)
    assert float((shown[1] - shown[1].mean(1, keepdim=True)).abs().max()) < 1e-3  # grey
    assert float((shown[0] - shown[1]).abs().max()) > 0.1


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[3, 4, 4]", "[1, 4, 4]", "takes pictures of red, green and blue, and `input` is (1, 4, 4)"),
        ("out_channels: 2", "out_channels: 3", "ends in (3, 4, 4), and colourisation takes (2, 4, 4)"),
        ("lightness: [1, 4, 4]", "lightness: [2, 4, 4]", "colourisation gives `network` (1, 4, 4) as `lightness`"),
        ("spacing: null", "spacing: 0", "spacing"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence(old, new, sentence):
    with pytest.raises(SpecError) as raised:
        runner.prepare(experiment_of(SPEC.replace(old, new, 1)))
    assert sentence in str(raised.value)


def test_the_right_number_of_squares_is_told():
    with pytest.raises(SpecError) as raised:
        trace_all(experiment_of(SPEC.replace("spacing: null", "spacing: 20")))
    count = len(KIND(spacing=20).squares)
    (problem,) = raised.value.problems
    assert f"colourisation takes ({count}, 4, 4)" in problem.message
    assert problem.hint == f"Let its last layer be `conv: {{out_channels: {count}, kernel_size: 1}}`."


def test_values_beyond_0_and_1_are_refused_before_the_training(tmp_path):
    with pytest.raises(SpecError) as raised:
        runner.run(experiment_of(SPEC), tmp_path)  # normal ones
    assert "colourisation is of values from 0 to 1, and the field `input` goes from -3.458 to 3.432" in str(
        raised.value
    )
