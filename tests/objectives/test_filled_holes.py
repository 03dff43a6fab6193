"""Inpainting by hand: holes, losses, masks; what can be filled in and what cannot; what is refused."""

import numpy as np
import pytest
import torch
from cut_off import assert_it_goes_on
from helpers import experiment_of

from dlx.data.batch import Batch
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.objectives import OBJECTIVES, Ports
from dlx.shapes import Shape

KIND = OBJECTIVES["inpainting"]
SPEC = """
name: h
data: {synthetic: {shape: [1, 6, 6], classes: 3, train: 40, valid: 8}}
network: {layers: [flatten, {linear: 32}, relu, {linear: 36}, {reshape: [1, 6, 6]}]}
objective: {inpainting: {hole: 2}}
train: {epochs: 3, batch_size: 8, save_every: 1, log_every: 1, optimizer: {adam: 1e-2}, device: cpu}
track: {mlflow: false}
"""


def informed(names=("input",), **options):
    shapes = {name: Shape((1, 5, 6)) for name in names}
    return KIND(**options).informed({}, {"network": Ports(shapes, {})})


def test_holes_are_anywhere_or_in_the_middle():
    x = torch.zeros(3000, 2, 5, 6)
    anywhere = informed(hole=2).known(x, torch.Generator().manual_seed(0))
    assert tuple(anywhere.shape) == (3000, 1, 5, 6)
    assert (anywhere.flatten(1).sum(1) == 30 - 4).all()
    assert len(anywhere.unique(dim=0)) == 4 * 5  # every place that there is
    middle = informed(hole=2, place="middle").known(x, torch.Generator())
    assert len(middle.unique(dim=0)) == 1
    rows, columns = (middle[0, 0] == 0).nonzero().T
    assert (rows.unique().tolist(), columns.unique().tolist()) == ([1, 2], [2, 3])
    assert informed().side(Shape((1, 5, 6))) == 2  # half of the shorter side


@pytest.mark.parametrize("names", [("input",), ("image", "mask")])
def test_the_loss_is_of_the_hole_alone(names):
    x = torch.randn(50, 1, 5, 6, generator=torch.Generator().manual_seed(1))
    one, batch, seen = informed(names, hole=2, fill=7.0), Batch({"input": x}), []
    mask = one.known(x, torch.Generator().manual_seed(3))

    def call(name, **inputs):
        seen.append(inputs)
        return torch.where(mask == 1, torch.full_like(x, 99.0), x + 0.5)  # wrong where it is known

    (loss,) = one.terms("train", call, batch, torch.Generator().manual_seed(3)).values()
    found = one.evaluate(call, batch, torch.Generator().manual_seed(3))
    assert float(loss) == pytest.approx(0.25)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {"loss": 0.25, "mse": 0.25, "mae": 0.5}
    )
    for inputs in seen:
        assert tuple(inputs) == names
        picture = inputs[names[0]]
        assert torch.equal(picture[mask == 1], x[mask == 1])
        assert (picture[mask == 0] == 7).all()
        assert "mask" not in inputs or torch.equal(inputs["mask"], mask)


def test_pictures_are_shown_with_their_holes_and_filled():
    x = torch.randn(4, 1, 5, 6)
    shown = informed(hole=2).pictures(lambda *_, **__: x + 3, Batch({"input": x}), 4, torch.Generator())["holes"]
    assert tuple(shown.shape) == (3, 4, 1, 5, 6)
    assert torch.equal(shown[0], x)
    assert int((shown[1] != x).sum()) == int((shown[2] != x).sum()) == 4 * 4
    torch.testing.assert_close(shown[2][shown[2] != x], x[shown[2] != x] + 3)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("hole: 2", "hole: 6", "a hole of 6 pixels leaves nothing of (1, 6, 6)"),
        ("{reshape: [1, 6, 6]}", "{reshape: [1, 4, 9]}", "ends in (1, 4, 9), and inpainting takes (1, 6, 6)"),
        ("[1, 6, 6], classes", "[36], classes", "takes pictures (channels, height, width), and `input` is (36,)"),
        ("hole: 2", "place: left", "anywhere"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence(old, new, sentence):
    with pytest.raises(SpecError) as raised:
        runner.prepare(experiment_of(SPEC.replace(old, new, 1)))
    assert sentence in str(raised.value)


def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(tmp_path):
    assert_it_goes_on(experiment_of(SPEC), tmp_path)


def test_what_the_rest_determines_is_filled_in_and_noise_is_not(tmp_path):
    """Of planes of brightness the rest tells the hole; of independent pixels nothing is better than their mean."""
    rng = np.random.default_rng(0)
    at = np.linspace(-1, 1, 6)
    plane = rng.normal(0, 1, (300, 1, 1, 1)) * at[:, None] + rng.normal(0, 1, (300, 1, 1, 1)) * at
    np.save(tmp_path / "plane.npy", plane.astype(np.float32))
    np.save(tmp_path / "noise.npy", rng.normal(0, plane.std(), plane.shape).astype(np.float32))
    np.save(tmp_path / "y.npy", np.zeros(300, dtype=np.int64))

    def share_left(name):
        data = f"{{arrays: {{path: {tmp_path}/{name}.npy, targets: {tmp_path}/y.npy, valid: 100}}}}"
        spec = SPEC.replace("{synthetic: {shape: [1, 6, 6], classes: 3, train: 40, valid: 8}}", data)
        spec = (
            spec.replace("epochs: 3", "epochs: 60")
            .replace("save_every: 1, ", "")
            .replace("hole: 2", "hole: 2, place: middle")
        )
        found = runner.run(experiment_of(spec), tmp_path).results[0].metrics["valid/mse"]
        pictures = np.load(tmp_path / f"{name}.npy")[..., 2:4, 2:4]
        return found / pictures.var()

    assert share_left("plane") < 0.1
    assert share_left("noise") > 0.9
