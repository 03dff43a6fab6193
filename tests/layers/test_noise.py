"""Layers that chance moves while training: what they do then, what is expected of it, and evaluation."""

import pytest
import torch
from helpers import refusal
from pydantic import ValidationError

from dlx.layers import LAYERS
from dlx.shapes import Shape

ONE = ["cutout", "gaussian_noise", "spatial_dropout", "feature_alpha_dropout", "stochastic_depth", "shake_drop"]
MERGES = ["shake_shake", "drop_path"]
OPTIONS = {"cutout": {"length": 2}, "stochastic_depth": {"p": 0.25}}


def made(kind, x, **options):
    return LAYERS[kind].model_validate(OPTIONS.get(kind, {}) | options).module(Shape(x.shape[1:]))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


# --- all of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*ONE, *MERGES])
def test_evaluation_is_not_random_and_training_is(kind):
    xs = [torch.randn(64, 4, 8, 8) for _ in range(1 + (kind in MERGES))]
    module = made(kind, xs[0])

    assert not torch.equal(module(*xs), module(*xs))
    module.eval()
    assert torch.equal(module(*xs), module(*xs))


@pytest.mark.parametrize("kind", [*ONE, *MERGES])
def test_a_seed_brings_the_same_noise(kind):
    xs = [torch.randn(8, 4, 8, 8) for _ in range(1 + (kind in MERGES))]
    module = made(kind, xs[0])
    state = torch.get_rng_state()
    first = module(*xs)
    torch.set_rng_state(state)

    assert torch.equal(module(*xs), first)


@pytest.mark.parametrize("kind", ["gaussian_noise", "spatial_dropout", "stochastic_depth", "shake_drop", *MERGES])
def test_the_expectation_of_training_is_evaluation(kind):
    xs = [torch.full((20_000, 2, 1), float(n)) for n in range(1, 2 + (kind in MERGES))]
    module = made(kind, xs[0])

    trained, evaluated = module(*xs).mean().item(), module.eval()(*xs).mean().item()

    assert trained == pytest.approx(evaluated, abs=0.03)


@pytest.mark.parametrize("kind", ["cutout", "gaussian_noise", "spatial_dropout", "stochastic_depth"])
def test_evaluation_hands_the_input_on(kind):
    x = torch.randn(2, 4, 8, 8)

    assert torch.equal(made(kind, x).eval()(x), x)


# --- one by one -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(9,), (5, 5), (2, 3, 4)])
def test_spatial_dropout_drops_whole_channels(size):
    y = made("spatial_dropout", torch.ones(50, 8, *size), p=0.25)(torch.ones(50, 8, *size)).flatten(2)

    assert torch.equal(y.amin(2), y.amax(2))
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])


def test_feature_alpha_dropout_keeps_mean_and_variance():
    x = torch.randn(2000, 50, 1)
    y = made("feature_alpha_dropout", x, p=0.2)(x)

    assert (y.mean().item(), y.var().item()) == pytest.approx((0, 1), abs=0.03)


def test_gaussian_noise_has_its_standard_deviation():
    x = torch.full((1000, 100), 3.0)

    assert made("gaussian_noise", x, std=0.5)(x).std().item() == pytest.approx(0.5, abs=0.01)
    assert made("gaussian_noise", x, std=0.5, relative=True)(x).std().item() == pytest.approx(1.5, abs=0.03)
    assert torch.equal(made("gaussian_noise", x, std=0)(x), x)


def test_input_noise_on_linear_regression_is_weight_decay():
    """Prince 2023, problem 9.3: the expected loss grows by the variance of the noise times the slope squared."""
    x, slope, std = torch.zeros(200_000, 1), 3.0, 0.5
    noisy = slope * made("gaussian_noise", x, std=std)(x)

    assert noisy.pow(2).mean().item() == pytest.approx(std**2 * slope**2, rel=0.02)


@pytest.mark.parametrize(("size", "length"), [((9,), 3), ((8, 8), [4, 2]), ((4, 5, 6), 2)])
def test_cutout_hides_one_patch_of_each_sample_in_all_channels(size, length):
    x = torch.ones(200, 3, *size)
    hidden = made("cutout", x, length=length)(x) == 0
    lengths = [length] * len(size) if isinstance(length, int) else length

    assert torch.equal(hidden.all(1), hidden.any(1))
    counts = hidden[:, 0].flatten(1).sum(1)
    assert counts.max() == torch.Size(lengths).numel()
    assert counts.min() >= 1
    for axis, longest in enumerate(lengths, start=1):
        others = [k for k in range(1, len(size) + 1) if k != axis]
        along = hidden[:, 0].any(others) if others else hidden[:, 0]
        assert along.sum(1).max() == longest
        edges = along[:, 1:] != along[:, :-1]
        assert edges.sum(1).max() <= 2  # one patch: it begins once and ends once
    assert hidden.any(0).all()  # every position is hidden at times


def test_cutout_makes_several_holes():
    x = torch.ones(500, 1, 40)
    counts = (made("cutout", x, length=4, holes=2)(x) == 0).flatten(1).sum(1)

    assert counts.max() == 8
    assert counts.min() <= 5


@pytest.mark.parametrize(("mode", "outcomes"), [("row", 2), ("batch", 1)])
def test_stochastic_depth_drops_samples_or_the_batch(mode, outcomes):
    x = torch.ones(100, 4, 5)
    y = made("stochastic_depth", x, p=0.5, mode=mode)(x).flatten(1)

    assert torch.equal(y.amin(1), y.amax(1))
    assert len(y.unique()) == outcomes
    assert set(y.unique().tolist()) <= {0, 2}


@pytest.mark.parametrize(("p", "y"), [(0, 1), (1, 0)])
def test_stochastic_depth_at_its_ends(p, y):
    x = torch.ones(100, 4)

    assert made("stochastic_depth", x, p=p)(x).unique().tolist() == [y]


def proportions(module, branches, rows=20_000):
    """What each branch got in the output of each sample, and of the gradient."""
    xs = [torch.eye(branches)[i].repeat(rows, 1).requires_grad_() for i in range(branches)]
    y = module(*xs)
    y.sum().backward()
    return y.detach(), torch.stack([x.grad[:, 0] for x in xs], 1)


@pytest.mark.parametrize("branches", [2, 3])
def test_shake_shake_mixes_in_random_proportions_and_hands_gradients_back_in_others(branches):
    x = torch.zeros(1, branches)
    forward, backward = proportions(made("shake_shake", x), branches)

    for shares in (forward, backward):
        assert shares.min() >= 0
        torch.testing.assert_close(shares.sum(1), torch.ones(len(shares)))
        assert shares.mean(0).tolist() == pytest.approx([1 / branches] * branches, abs=0.01)
    assert abs(torch.corrcoef(torch.stack([forward[:, 0], backward[:, 0]]))[0, 1].item()) < 0.03
    if branches == 2:
        assert forward[:, 0].var().item() == pytest.approx(1 / 12, abs=0.003)  # uniform in 0 to 1


def test_shake_shake_can_keep_or_even_the_gradients():
    forward, saved = proportions(made("shake_shake", torch.zeros(1, 2), backward="keep"), 2)
    _, even = proportions(made("shake_shake", torch.zeros(1, 2), backward="even"), 2)

    torch.testing.assert_close(saved, forward)
    assert even.unique().tolist() == [0.5]
    assert len(proportions(made("shake_shake", torch.zeros(1, 2), mode="batch"), 2)[0].unique(dim=0)) == 1


def test_shake_drop_is_equation_6_of_the_paper():
    x = torch.ones(20_000, 1, requires_grad=True)
    y = made("shake_drop", x, p=0.5)(x)
    y.sum().backward()
    shaken, gradient = (y != 1).flatten(), x.grad.flatten()

    assert shaken.float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert (gradient[~shaken] == 1).all()
    assert -1 <= y.min() < -0.99
    assert y.detach()[shaken].mean().item() == pytest.approx(0, abs=0.02)
    assert gradient[shaken].mean().item() == pytest.approx(0.5, abs=0.02)
    assert gradient.min() >= 0
    assert made("shake_drop", x, p=0.2).eval()(x).unique().tolist() == [pytest.approx(0.8)]


def test_drop_path_leaves_branches_out_and_always_keeps_one():
    live, _ = proportions(made("drop_path", torch.zeros(1, 3), p=0.9), 3)

    assert live.unique().tolist() == pytest.approx([0, 1 / 3, 1 / 2, 1])
    torch.testing.assert_close(live.sum(1), torch.ones(len(live)))
    alone = (live.amax(1) == 1).float().mean().item()
    assert alone == pytest.approx(0.9**3 + 3 * 0.9**2 * 0.1, abs=0.01)  # none survived, or one did


def test_global_drop_path_keeps_one_branch_alone():
    live, _ = proportions(made("drop_path", torch.zeros(1, 3), single=1), 3)

    assert live.unique().tolist() == [0, 1]
    assert live.mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.02)


def test_drop_connect_drops_weights_and_no_biases():
    layer = LAYERS["drop_connect"].model_validate({"layer": {"linear": 200}, "p": 0.25})
    module = layer.module(Shape((300,)))
    with torch.no_grad():
        module.layer.weight.fill_(3)
        module.layer.bias.fill_(7)
    eye = torch.eye(300)
    weights = module(eye) - 7

    assert set(weights.unique().tolist()) == {0, 4}  # 3 / 0.75
    assert (weights == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert torch.equal(module.eval()(eye), torch.full((300, 200), 10.0))
    assert (module.layer.weight == 3).all()


def test_drop_connect_trains_the_weights_that_stay():
    module = (
        LAYERS["drop_connect"]
        .model_validate({"layer": {"conv": {"out_channels": 2, "kernel_size": 3}}})
        .module(Shape((4, 9)))
    )
    module(torch.ones(1, 4, 9)).sum().backward()

    assert set(module.layer.weight.grad.unique().tolist()) == {0, 14}  # 7 positions, doubled
    assert module.layer.bias.grad.tolist() == [7, 7]


# --- refusals -------------------------------------------------------------------------------------------------------

REFUSED = [
    (
        ("cutout", {"length": 9}, [(3, 8, 8)]),
        "cutout has patches of 9x9, and the positions of (3, 8, 8) are 8x8",
        "Take a shorter `length`: half of the input is much already.",
    ),
    (
        ("shake_shake", {}, [(8, 5), (8, 1)]),
        "shake_shake mixes branches of one shape, and (8, 1) is not (8, 5)",
        "Nothing stretches here: bring the branches to one shape first.",
    ),
    (
        ("drop_path", {}, [(8, 1), (8, 5)]),
        "drop_path mixes branches of one shape, and (8, 1) is not (8, 5)",
        "Nothing stretches here: bring the branches to one shape first.",
    ),
    (
        ("drop_connect", {"layer": "relu"}, [(8,)]),
        "drop_connect wraps relu, which has no weights to drop",
        "Wrap a layer such as `linear` or `conv`; `- dropout` drops values.",
    ),
    (
        ("drop_connect", {"layer": "add"}, [(8,)]),
        "drop_connect wraps a layer of one input, and add takes several",
        "Wrap its parts.",
    ),
]


@pytest.mark.parametrize(("case", "message", "hint"), REFUSED, ids=lambda v: v[0] if isinstance(v, tuple) else "")
def test_inputs_that_do_not_fit_are_refused_with_a_way_out(case, message, hint):
    assert refusal(*case) == (message, hint)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("spatial_dropout", {"p": 1.1}),
        ("stochastic_depth", {}),
        ("stochastic_depth", {"p": 0.1, "mode": "column"}),
        ("shake_drop", {"p": -0.1}),
        ("drop_path", {"p": 1}),
        ("cutout", {"length": 0}),
        ("gaussian_noise", {"std": -1}),
    ],
)
def test_fields_outside_their_bounds_are_refused(kind, options):
    with pytest.raises(ValidationError):
        LAYERS[kind].model_validate(options)
