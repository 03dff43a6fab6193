"""Flows: each layer has an inverse and the determinant of its Jacobian, densities integrate to one."""

import math

import pytest
import torch
from helpers import SHIPPED, experiment_of
from quality import bounds, unmet

from dlx.data.base import Field
from dlx.data.batch import Batch
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.graph import trace
from dlx.layers import LAYERS
from dlx.modules.invertible import both_ways, calls
from dlx.network import build
from dlx.objectives import OBJECTIVES, Ports
from dlx.shapes import Shape
from dlx.spec import load

KIND = OBJECTIVES["flow"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def randomised(network, size=0.4, seed=1):
    torch.manual_seed(seed)
    for name, weight in network.named_parameters():
        if not name.endswith("matrix"):
            torch.nn.init.normal_(weight, 0, size)
    return network.double().eval().requires_grad_(False)


LAYER_CASES = [
    ("actnorm", {}, (3,)),
    ("actnorm", {}, (2, 3, 3)),
    ("invertible_1x1", {}, (4,)),
    ("invertible_1x1", {}, (3, 2, 2)),
    ("invertible_1x1", {}, (3, 4)),
    ("reverse_channels", {}, (5,)),
    ("affine_coupling", {"hidden": [7]}, (5,)),
    ("affine_coupling", {"hidden": [7, 6], "mask": "channels_swapped"}, (5,)),
    ("affine_coupling", {"hidden": [5], "mask": "checkerboard"}, (2, 3, 4)),
    ("affine_coupling", {"hidden": [5], "mask": "checkerboard_swapped"}, (1, 4, 3)),
    ("affine_coupling", {"hidden": [5]}, (4, 3)),
]


@pytest.mark.parametrize(("kind", "options", "shape"), LAYER_CASES)
def test_a_layer_comes_back_and_gives_the_determinant_of_its_jacobian(kind, options, shape):
    module = randomised(LAYERS[kind].model_validate(options).module(Shape(shape)))
    if hasattr(module, "matrix"):
        module.matrix.add_(torch.randn(module.matrix.shape, generator=rng()) / 2)
    x = torch.randn(3, *shape, dtype=torch.float64, generator=rng())
    y, log_det = module.transform(x)
    torch.testing.assert_close(module.inverse(y), x)
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda v: module(v.unsqueeze(0))[0], x[i])
        exact = torch.linalg.slogdet(jacobian.reshape(math.prod(shape), -1))[1]
        torch.testing.assert_close(log_det.expand(3)[i], exact)
    if kind != "reverse_channels":
        assert float(log_det.abs().max()) > 0.05  # 0 would not be right by chance


@pytest.mark.parametrize(("kind", "options", "shape"), [case for case in LAYER_CASES if case[0] == "affine_coupling"])
def test_a_coupling_leaves_what_its_network_sees(kind, options, shape):
    module = randomised(LAYERS[kind].model_validate(options).module(Shape(shape)))
    x = torch.randn(2, *shape, dtype=torch.float64, generator=rng())
    same = module.mask.bool().expand(2, *shape)
    y = module(x)
    assert torch.equal(y[same], x[same])
    assert (y[~same] != x[~same]).all()
    assert 0.3 < float(same.double().mean()) < 0.7


def flow(inputs, layers, shape, classes=0, **options):
    graph = trace(experiment_of(f"dlx: 1\nnetwork:\n  inputs: {inputs}\n  layers:\n{layers}\n"))
    torch.manual_seed(0)  # of the rotations
    network, made = randomised(build(graph)), graph.nodes[-1].shape
    fields = {"input": Field(Shape(shape)), "target": Field(Shape((), "int"), "target", classes=classes or None)}
    ports = Ports({"x": Shape(shape)}, {"z": made})
    run = both_ways(network, network)
    return KIND.model_validate(options).informed(fields, {"network": ports}), lambda _, *x, **y: run(*x, **y), network


PLANE = """
    - actnorm
    - affine_coupling: {hidden: [16], limit: 0.5}
    - invertible_1x1
    - affine_coupling: {hidden: [16], limit: 0.5}
    - reverse_channels
    - affine_coupling: {hidden: [16], limit: 0.5}
"""


def integral(objective, call):
    axis = torch.linspace(-20, 20, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    return float(objective.log_likelihood(call, grid).exp().sum() * (axis[1] - axis[0]) ** 2)


def test_the_density_integrates_to_one_and_without_the_determinant_it_does_not():
    objective, call, _ = flow("{x: [2]}", PLANE, (2,))
    assert integral(objective, call) == pytest.approx(1, abs=2e-3)

    def without(_, x):
        with calls():  # what the layers record goes elsewhere
            return call(_, x)

    assert abs(integral(objective, without) - 1) > 0.1


def test_samples_have_the_density_that_the_flow_gives():
    objective, call, _ = flow("{x: [2]}", PLANE, (2,))
    drawn = objective.sample(lambda n, z: call(n, z.double()), 40_000, rng())
    low, high = drawn.quantile(torch.tensor([0.3, 0.7], dtype=torch.float64), 0).T.unbind(1)
    inside = ((drawn > low) & (drawn < high)).all(1).double().mean()
    axes = [torch.linspace(float(a), float(b), 201, dtype=torch.float64) for a, b in zip(low, high, strict=True)]
    middle = torch.cartesian_prod(*[(axis[1:] + axis[:-1]) / 2 for axis in axes])
    cell = float((axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0]))
    mass = float(objective.log_likelihood(call, middle).exp().sum()) * cell
    assert float(inside) == pytest.approx(mass, abs=4 * math.sqrt(0.25 / len(drawn)))


IMAGE = """
    - affine_coupling: {hidden: [4], mask: checkerboard}
    - pixel_unshuffle: 2
    - actnorm
    - invertible_1x1
    - affine_coupling: {hidden: [4]}
"""


def test_a_flow_through_blocks_of_pixels_comes_back_and_has_the_whole_jacobian():
    objective, call, network = flow("{x: [1, 4, 4]}", IMAGE, (1, 4, 4))
    x = torch.randn(2, 1, 4, 4, dtype=torch.float64, generator=rng())
    z, log_det = objective.forward(call, x)
    assert z.shape == (2, 4, 2, 2)
    torch.testing.assert_close(objective.backward(call, z), x)
    jacobian = torch.autograd.functional.jacobian(lambda v: network(v.unsqueeze(0))[0], x[0]).reshape(16, 16)
    torch.testing.assert_close(log_det[0], torch.linalg.slogdet(jacobian)[1])


def test_steps_are_spread_over_the_line_with_the_determinant_of_the_logit_and_come_back():
    objective, _, _ = flow("{x: [1, 4, 4]}", IMAGE, (1, 4, 4), levels=17, alpha=0.05)
    x = (torch.randint(0, 17, (3, 1, 4, 4), generator=rng()) / 16).double()
    y, log_det = objective.dequantized(x, rng())
    torch.testing.assert_close(objective.quantized(y), x)
    noise = torch.rand(x.shape, generator=rng())
    step = ((x * 16 + noise) / 17).requires_grad_()
    p = 0.05 + 0.9 * step
    (slope,) = torch.autograd.grad((p / (1 - p)).log().sum(), step)
    torch.testing.assert_close(log_det, (slope / 17).log().flatten(1).sum(1))


def test_actnorm_begins_with_the_statistics_of_the_first_examples():
    objective, call, network = flow("{x: [2]}", PLANE, (2,))
    x = torch.randn(500, 2, dtype=torch.float64, generator=rng()) * 3 + 7
    objective.begin(call, Batch({"input": x}), rng())
    y = network.actnorm_1(x)
    torch.testing.assert_close(y.mean(0), torch.zeros(2).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(y.std(0), torch.ones(2).double())


SPEC = """
dlx: 1
name: a
data: {moons: {train: 200, valid: 50, test: 50}}
network:
  layers:
    - actnorm
    - affine_coupling: {hidden: [8]}
    - reverse_channels
    - affine_coupling: {hidden: [8]}
objective: flow
train: {steps: 30, batch_size: 50, device: cpu, optimizer: {adam: 1e-2}, average: {ema: 0.5}}
track: {mlflow: false}
"""


def run(folder, *changes):
    file = folder / "a.yaml"
    file.write_text(SPEC)
    return runner.run(load(file, list(changes)), folder / "runs").results[0]


def test_a_training_begins_at_the_statistics_of_its_data_and_rises(tmp_path):
    normal = -math.log(2 * math.pi) - 1 - math.log(0.87 * 0.5)  # independent, with the deviations of moons
    first = run(tmp_path, "train.optimizer.adam.lr=1e-9", "train.steps=2").metrics["test/log_likelihood"]
    assert first == pytest.approx(normal, abs=0.15)
    assert run(tmp_path).metrics["test/log_likelihood"] > first + 0.05


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (
            "network.layers=[actnorm, relu]",
            ["the flow is not invertible: `relu_1` has no inverse", "network.layers.relu_1"],
        ),
        ("network.layers=[{linear: 2}]", ["no layer of the network has an inverse", "a.yaml:5:"]),
        (
            "network.layers=[{linear: 3}]",
            ["flow takes as many values as the input has, (2,), and the network ends"],
        ),
        (
            "objective={flow: {levels: 4}}",
            ["flow with `levels` is of values from 0 to 1, and the field `input` goes from -"],
        ),
        ("network.layers=[{affine_coupling: {mask: checkerboard}}]", ["masks a checkerboard of positions"]),
    ],
)
def test_what_is_no_flow_is_told_before_training(tmp_path, change, sentences):
    with pytest.raises(SpecError) as refused:
        run(tmp_path, change)
    assert [one for one in sentences if one not in str(refused.value)] == []


# --- the specs of the zoo -------------------------------------------------------------------------------------------


TWINS = {
    # one coupling, which leaves the first coordinate normal; couplings that leave every pixel to itself
    "zoo/flow": (["vars.depth=1"], 0.1),
    "zoo/realnvp-digits": (["train.steps=52", "freeze=['*/affine_coupling_*']"], 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_flows_are_likelier_than_simple_models_and_their_twins_are_not(tmp_path, name, seed):
    plain = ["track.mlflow=false", f"train.seed={seed}"]
    assert not unmet(name, runner.run(load(SHIPPED[name], plain), tmp_path).results[0].metrics)
    if not seed:
        change, below = TWINS[name]
        twin = runner.run(load(SHIPPED[name], [*plain, *change, "~expect"]), tmp_path).results[0].metrics
        assert twin["test/log_likelihood"] < bounds(name)["test/log_likelihood"]["at_least"] - below
