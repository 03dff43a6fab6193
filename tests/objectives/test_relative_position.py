"""Relative position by hand: patches, sides, draws; what can be told of pictures and of noise; what is refused."""

import numpy as np
import pytest
import torch
from cut_off import assert_it_goes_on
from helpers import experiment_of

from dlx.data.batch import Batch
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.objectives import OBJECTIVES, Ports
from dlx.objectives.relative_position import SIDES
from dlx.shapes import Shape

KIND = OBJECTIVES["relative_position"]
SPEC = """
name: p
data: {synthetic: {shape: [2, 9, 9], classes: 3, train: 40, valid: 8}}
network:
  inputs: {center: [2, 2, 2], neighbor: [2, 2, 2]}
  layers:
    - {flatten: , from: center, name: first}
    - {flatten: , from: neighbor, name: second}
    - {concat: , from: [first, second]}
    - linear: 16
    - relu
    - linear: 8
objective: {relative_position: {space: 1}}
train: {epochs: 3, batch_size: 8, save_every: 1, log_every: 1, optimizer: {adam: 1e-2}, device: cpu}
track: {mlflow: false}
"""


def informed(side, **options):
    patch = Shape((1, side, side))
    return KIND(**options).informed({}, {"network": Ports({"center": patch, "neighbor": patch}, {})})


@pytest.mark.parametrize(("space", "jitter"), [(0, 0), (1, 0), (1, 1)])
def test_a_neighbour_lies_on_its_side_beyond_the_gap(space, jitter):
    """Each pixel is its own number, so that a patch tells where it was."""
    height, width, n = 11, 13, 4000
    x = torch.arange(float(height * width)).view(1, 1, height, width).repeat(n, 1, 1, 1)
    centers, neighbors, side = informed(2, space=space, jitter=jitter).patches(x, torch.Generator().manual_seed(0))

    def corner(patches):
        number = patches[:, 0, 0, 0].long()
        first, last = number // width, number % width
        whole = (
            torch.stack([torch.zeros(4), torch.tensor([0, 1, width, width + 1])]).sum(0) + number[:, None]
        ).float()
        assert torch.equal(patches.flatten(1), whole)
        return torch.stack([first, last], 1)

    away = corner(neighbors) - corner(centers)
    moved = away - torch.tensor(SIDES)[side] * (2 + space)
    assert int(moved.abs().max()) == jitter
    assert len(moved.unique(dim=0)) == (2 * jitter + 1) ** 2
    around = 2 + space + jitter
    places = corner(centers).unique(dim=0)
    assert len(places) == (height - 2 - 2 * around + 1) * (width - 2 - 2 * around + 1)  # all that have room, no more
    assert np.bincount(side, minlength=8).min() > n / 8 * 0.8


def test_sides_are_row_by_row_and_opposite_ones_mirror_each_other():
    assert SIDES[0] == (-1, -1)
    assert SIDES[4] == (0, 1)  # to the right
    assert all(SIDES[i] == tuple(-step for step in SIDES[7 - i]) for i in range(8))
    assert len(set(SIDES)) == 8


def test_loss_and_accuracy_are_of_the_drawn_sides():
    rng, seen = torch.Generator(), []
    batch = Batch({"input": torch.randn(50, 1, 6, 6)})
    _, _, side = informed(2).patches(batch["input"], rng.manual_seed(3))
    logits = torch.nn.functional.one_hot(side, 8).float() * 2
    logits[:10] = torch.eye(8)[(side[:10] + 1) % 8]  # ten that are wrong

    def call(name, center, neighbor):
        seen.append((name, tuple(center.shape), tuple(neighbor.shape)))
        return logits

    expected = float(torch.nn.functional.cross_entropy(logits, side))
    (loss,) = informed(2).terms("train", call, batch, rng.manual_seed(3)).values()
    found = informed(2).evaluate(call, batch, rng.manual_seed(3))
    assert float(loss) == pytest.approx(expected)
    assert float(found["accuracy"]) == pytest.approx(0.8)
    assert seen == [("network", (50, 1, 2, 2), (50, 1, 2, 2))] * 2


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("9, 9", "7, 9", "its neighbours takes 8, with `space` and `jitter`, and `input` is (2, 7, 9)"),
        ("neighbor: [2, 2, 2]", "neighbor: [2, 3, 3]", "the network takes (2, 2, 2) and (2, 3, 3)"),
        ("center: [2, 2, 2]", "center: [2, 2, 3]", "equal squares out of (2, 9, 9), and the network takes (2, 2, 3)"),
        ("linear: 8", "linear: 9", "the network `network` ends in (9,), and relative_position takes (8,)"),
        ("  inputs: {center: [2, 2, 2], neighbor: [2, 2, 2]}\n", "", "center"),
        ("space: 1", "space: -1", "space"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence(old, new, sentence):
    with pytest.raises(SpecError) as raised:
        runner.prepare(experiment_of(SPEC.replace(old, new, 1)))
    assert sentence in str(raised.value)


def test_inputs_of_other_names_are_told_with_the_way_out():
    spec = SPEC.replace("center", "left").replace("neighbor", "right")
    with pytest.raises(SpecError) as raised:
        runner.prepare(experiment_of(spec))
    (problem,) = raised.value.problems
    assert "gives a network two patches, `center` and `neighbor`, and it takes `left` (2, 2, 2)" in problem.message
    assert "`inputs: {center: [2, P, P], neighbor: [2, P, P]}`" in problem.hint


def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(tmp_path):
    assert_it_goes_on(experiment_of(SPEC), tmp_path)


def test_the_side_is_told_on_a_slope_and_not_of_noise_or_of_one_patch(tmp_path):
    """One channel grows downwards and one to the right, from anywhere: two patches tell the side, one does not."""
    rng, n = np.random.default_rng(0), 240
    grown = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0), indexing="ij"))
    slope = grown / 2 + rng.normal(0, 2, (n, 2, 1, 1))
    np.save(tmp_path / "slope.npy", slope.astype(np.float32))
    np.save(tmp_path / "noise.npy", rng.normal(0, 1, slope.shape).astype(np.float32))
    np.save(tmp_path / "y.npy", np.zeros(n, dtype=np.int64))

    def accuracy(name, spec=SPEC):
        data = f"{{arrays: {{path: {tmp_path}/{name}.npy, targets: {tmp_path}/y.npy, valid: 120}}}}"
        spec = spec.replace("{synthetic: {shape: [2, 9, 9], classes: 3, train: 40, valid: 8}}", data)
        spec = spec.replace("epochs: 3", "epochs: 40").replace("save_every: 1, ", "")
        return runner.run(experiment_of(spec), tmp_path).results[0].metrics["valid/accuracy"]

    assert accuracy("slope") > 0.8
    assert accuracy("noise") < 0.3
    assert (
        accuracy("slope", SPEC.replace("{concat: , from: [first, second]}", "{concat: , from: [second, second]}"))
        < 0.45
    )
