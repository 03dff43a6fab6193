"""What norms compute, against formulas, figures of the books and each other."""

import inspect

import pytest
import torch
from helpers import network_of
from pydantic import ValidationError
from torch import nn

from dlx.errors import ShapeError
from dlx.init import INITIALIZERS
from dlx.layers import LAYERS
from dlx.modules.norm import recompute_statistics
from dlx.network import build
from dlx.shapes import Shape

NUMBERS = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
SIZES = [(), (5,), (5, 4), (2, 5, 4)]


def made(kind, x, **options):
    return LAYERS[kind].model_validate(options).module(Shape(x))


def planned(kind, x, **options):
    return LAYERS[kind].model_validate(options).plan(Shape(x))


def refused(kind, x, **options):
    with pytest.raises(ShapeError) as refusal:
        planned(kind, x, **options)
    problem = refusal.value.problem_for([str(Shape(x))])
    return problem.message, problem.hint


# --- over the batch -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["batch_norm", "ghost_batch_norm"])
def test_batch_norm_of_one_to_four_is_what_the_book_has(kind):
    by_hand = [-1.34163542, -0.44721181, 0.44721181, 1.34163542]  # 1.5 / sqrt(1.25 + 1e-5)

    assert made(kind, (1,))(NUMBERS).flatten().tolist() == pytest.approx(by_hand, abs=1e-6)


def test_the_book_s_batch_norm_adds_eps_to_the_deviation_or_to_the_variance():
    std = made("book_batch_norm", (1,), eps=0.5)(NUMBERS).flatten().tolist()
    variance = made("book_batch_norm", (1,), eps=0.5, eps_in="variance")(NUMBERS).flatten().tolist()

    assert std[3] == pytest.approx(1.5 / (1.25**0.5 + 0.5))
    assert variance[3] == pytest.approx(1.5 / 1.75**0.5)


def test_scale_and_shift_of_batch_norm_are_what_the_book_has():
    norm = made("book_batch_norm", (1,), eps=1e-12)
    nn.init.constant_(norm.weight, 2)
    nn.init.constant_(norm.bias, 3)

    by_hand = [0.3167184270, 2.1055728090, 3.8944271910, 5.6832815730]
    assert norm(NUMBERS).flatten().tolist() == pytest.approx(by_hand, abs=1e-5)


@pytest.mark.parametrize("kind", ["batch_norm", "book_batch_norm", "ghost_batch_norm", "batch_renorm"])
def test_doubling_the_weights_before_a_batch_norm_changes_nothing(kind):
    torch.manual_seed(0)
    x, linear = torch.randn(32, 6), nn.Linear(6, 3)
    norm = made(kind, (3,), eps=1e-9)
    before = norm(linear(x))
    with torch.no_grad():
        linear.weight.mul_(2)
        linear.bias.mul_(2)

    torch.testing.assert_close(norm(linear(x)), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["book_batch_norm", "ghost_batch_norm", "batch_renorm"])
def test_norms_over_the_batch_take_every_rank_and_agree_with_torch_where_nothing_is_special(kind, size):
    torch.manual_seed(0)
    x = 3 + 2 * torch.randn(8, 3, *size)
    options = {"eps_in": "variance"} if kind == "book_batch_norm" else {}
    norm, torchs = made(kind, (3, *size), **options), made("batch_norm", (3, *size))

    torch.testing.assert_close(norm(x), torchs(x), rtol=1e-4, atol=1e-5)
    assert norm.eval()(x).shape == x.shape


@pytest.mark.parametrize(("affine", "learned"), [("channel", 2 * 6), ("layer", 2), ("none", 0)])
def test_scale_and_shift_can_belong_to_the_whole_layer(affine, learned):
    plan, norm = planned("book_batch_norm", (6, 5), affine=affine), made("book_batch_norm", (6, 5), affine=affine)

    assert plan.params == sum(p.numel() for p in norm.parameters()) == learned
    assert norm(torch.randn(4, 6, 5)).shape == (4, 6, 5)


def test_a_constant_channel_has_no_infinite_gradient():
    x = torch.ones(4, 2, requires_grad=True)
    made("book_batch_norm", (2,))(x).pow(2).sum().backward()

    assert x.grad.isfinite().all()


def test_the_book_s_running_averages_are_of_the_deviation_itself():
    norm = made("book_batch_norm", (1,), momentum=0.5)
    norm(NUMBERS)

    assert norm.running_mean.item() == pytest.approx(0.5 * 0 + 0.5 * 2.5)
    assert norm.running_std.item() == pytest.approx(0.5 * 1 + 0.5 * 1.25**0.5)


def test_ghost_batch_norm_is_batch_norm_on_each_part():
    torch.manual_seed(0)
    x = torch.randn(10, 3, 4)
    ghost, plain = made("ghost_batch_norm", (3, 4), virtual_batch_size=4), nn.BatchNorm1d(3)

    by_hand = torch.cat(
        [plain(part) for part in (x[:4], x[4:7], x[7:])]
    )  # 3 parts for 10 samples, as equal as can be
    torch.testing.assert_close(ghost(x), by_hand)
    torch.testing.assert_close(ghost.running_var, plain.running_var)
    torch.testing.assert_close(ghost.eval()(x), plain.eval()(x))


def test_batch_renorm_begins_as_batch_norm_and_ends_as_its_own_evaluation():
    torch.manual_seed(0)
    x = 1 + 2 * torch.randn(16, 3)
    at_once = {"plain": 0, "rmax_at": 0, "dmax_at": 0, "rmax": 1e6, "dmax": 1e6}
    norm = made("batch_renorm", (3,), **at_once)

    first = norm(x)  # batch 0 is plain
    torch.testing.assert_close(first, nn.BatchNorm1d(3)(x), rtol=1e-4, atol=1e-5)
    evaluated = norm.eval()(x)
    torch.testing.assert_close(norm.train()(x), evaluated, rtol=1e-4, atol=1e-5)


def test_batch_renorm_bounds_its_correction_and_lets_the_bounds_grow():
    norm = made("batch_renorm", (1,), rmax=3, dmax=5, plain=10, rmax_at=30, dmax_at=20)
    far, wide = torch.tensor([100.0]), torch.tensor([50.0])

    def bounds(batches):
        norm.num_batches_tracked.fill_(batches)
        r, d = norm.correction(far, wide)
        return r.item(), d.item()

    assert [bounds(n) for n in (0, 10, 15, 20, 30, 99)] == [(1, 0), (1, 0), (1.5, 2.5), (2, 5), (3, 5), (3, 5)]
    assert norm.correction(-far, 1 / wide)[0].item() == pytest.approx(1 / 3)
    assert norm.correction(-far, wide)[1].item() == -5


def test_the_correction_of_batch_renorm_gets_no_gradient():
    torch.manual_seed(0)
    norm = made("batch_renorm", (2,), plain=0, rmax_at=0, dmax_at=0, affine=False)
    norm.num_batches_tracked.fill_(5)
    norm.running_std.fill_(0.5)
    x = torch.randn(8, 2, requires_grad=True)
    mean, std = x.detach().mean(0), (x.detach().var(0, unbiased=False) + 1e-5).sqrt()
    r, d = norm.correction(mean, std)
    got = torch.autograd.grad(norm(x).pow(3).sum(), x)[0]

    own = (x.var(0, unbiased=False) + 1e-5).sqrt()
    by_hand = torch.autograd.grad(((x - x.mean(0)) / own * r + d).pow(3).sum(), x)[0]
    torch.testing.assert_close(got, by_hand, rtol=1e-4, atol=1e-5)


def test_a_frozen_batch_norm_is_the_evaluation_of_a_trained_one():
    torch.manual_seed(0)
    trained, x = nn.BatchNorm2d(3), torch.randn(8, 3, 4, 4)
    nn.init.uniform_(trained.weight)
    trained(5 + x)
    frozen = made("frozen_batch_norm", (3, 4, 4))
    torch.testing.assert_close(frozen(x), x, rtol=1e-4, atol=1e-5)
    frozen.load_state_dict({k: v for k, v in trained.state_dict().items() if k != "num_batches_tracked"})

    torch.testing.assert_close(frozen.train()(x), trained.eval()(x))
    assert not list(frozen.parameters())


NORMED = "- linear: 4\n- {norm}\n- relu\n- linear: 3\n- {norm}"


@pytest.mark.parametrize("norm", ["batch_norm", "book_batch_norm", "batch_renorm", "ghost_batch_norm"])
def test_statistics_can_be_those_of_the_whole_training_set_layer_by_layer(norm):
    torch.manual_seed(0)
    network = build(network_of("[5]", NORMED.replace("{norm}", norm)))
    data = 2 + torch.randn(30, 5)

    assert recompute_statistics(network, lambda: data.split(7)) == 2

    first, last = network.get_submodule(f"{norm}_1"), network.get_submodule(f"{norm}_2")
    with torch.no_grad():
        h = network.linear_1(data)
        torch.testing.assert_close(first.running_mean, h.mean(0))
        g = network.linear_2(first(h).relu())
        torch.testing.assert_close(last.running_mean, g.mean(0))
        y = network(data)
    saved = {"batch_norm": "running_var", "ghost_batch_norm": "running_var"}.get(norm, "running_std")
    unbiased = saved == "running_var"  # as torch keeps it
    spread = g.var(0, unbiased=unbiased) if unbiased else g.std(0, unbiased=False)
    torch.testing.assert_close(getattr(last, saved), spread, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(y.mean(0), torch.zeros(3), rtol=0, atol=1e-5)
    assert not network.training


# --- over each sample -----------------------------------------------------------------------------------------------


def normalised(x, *axes):
    mean, var = x.mean(axes, keepdim=True), x.var(axes, unbiased=False, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("over", [1, "channels", "sample"])
def test_layer_norm_is_over_the_axes_it_says(over, size):
    torch.manual_seed(0)
    x = 3 + torch.randn(2, 4, *size)
    axes = {1: (-1,), "channels": (1,), "sample": tuple(range(1, x.dim()))}[over]

    torch.testing.assert_close(made("layer_norm", x.shape[1:], over=over)(x), normalised(x, *axes))


@pytest.mark.parametrize(
    ("x", "over", "params"),
    [
        ((197, 768), 1, 2 * 768),  # ViT-B/16, each of its 25 norms
        ((1024, 768), 1, 2 * 768),  # GPT-2
        ((96, 56, 56), "channels", 2 * 96),  # ConvNeXt-T, after the stem
        ((96, 56, 56), "sample", 2 * 96),
        ((3, 8, 8), 3, 2 * 3 * 8 * 8),  # torch's LayerNorm([3, 8, 8])
        ((8,), 1, 2 * 8),
    ],
)
def test_layer_norm_has_as_many_weights_as_published(x, over, params):
    plan, norm = planned("layer_norm", x, over=over), made("layer_norm", x, over=over)

    assert plan.params == sum(p.numel() for p in norm.parameters()) == params
    assert planned("layer_norm", x, over=over, bias=False).params == params // 2
    assert planned("layer_norm", x, over=over, elementwise_affine=False).params == 0


@pytest.mark.parametrize("over", [2, "channels", "sample"])
def test_layer_norm_can_do_without_its_shift_or_both(over):
    x = torch.randn(2, 4, 5)
    for options in ({"bias": False}, {"elementwise_affine": False}):
        norm = made("layer_norm", (4, 5), over=over, **options)
        names = {name for name, _ in norm.named_parameters()}
        assert names == set(planned("layer_norm", (4, 5), over=over, **options).weights)
        torch.testing.assert_close(norm(x), made("layer_norm", (4, 5), over=over)(x))


def test_the_scale_of_a_layer_norm_over_channels_belongs_to_the_channel():
    x = torch.randn(2, 3, 4, 5)
    for over in ("channels", "sample"):
        norm, plain = made("layer_norm", (3, 4, 5), over=over), made("layer_norm", (3, 4, 5), over=over)
        with torch.no_grad():
            norm.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
        torch.testing.assert_close(norm(x), plain(x) * torch.tensor([1.0, 2, 3]).view(3, 1, 1))


@pytest.mark.parametrize("size", [(5,), (5, 4), (2, 5, 4)])
def test_group_norm_is_instance_norm_or_layer_norm_at_its_ends(size):
    torch.manual_seed(0)
    x = torch.randn(2, 6, *size)
    shape = x.shape[1:]

    torch.testing.assert_close(made("group_norm", shape, num_groups=6)(x), made("instance_norm", shape)(x))
    torch.testing.assert_close(
        made("group_norm", shape, num_groups=1)(x), made("layer_norm", shape, over="sample")(x)
    )


def test_group_norm_is_over_its_groups():
    x = torch.randn(2, 6, 5)

    by_hand = torch.cat([normalised(part, 1, 2) for part in x.split(2, 1)], 1)
    torch.testing.assert_close(made("group_norm", (6, 5), num_groups=3)(x), by_hand)


def test_groups_of_one_value_are_warned_of():
    sentence = "each group is a single value: nothing but the shift comes out"

    assert planned("group_norm", (6,), num_groups=6).warnings == (sentence,)
    assert planned("group_norm", (6, 5), num_groups=6).warnings == ()
    assert made("group_norm", (6,), num_groups=6)(torch.randn(2, 6)).abs().max() < 1e-4


def test_instance_norm_sees_its_positions_unless_it_keeps_averages():
    assert planned("instance_norm", (3, 4, 5)).window == (0, 1)
    tracked = planned("instance_norm", (3, 4, 5), track_running_stats=True)
    assert (tracked.window, tracked.buffered) == ("pointwise", 2 * 3 + 1)
    buffers = made("instance_norm", (3, 4, 5), track_running_stats=True).named_buffers()
    assert {name: tuple(b.shape) for name, b in buffers} == dict(tracked.buffers)


def test_rms_norm_takes_no_mean_away():
    x = torch.tensor([[3.0, 4.0, 0.0, 0.0]])  # the mean square is 25 / 4

    assert made("rms_norm", (4,))(x).tolist() == [pytest.approx([3 / 2.5, 4 / 2.5, 0, 0], abs=1e-6)]


@pytest.mark.parametrize(
    ("dtype", "eps"),
    [
        (torch.float16, torch.finfo(torch.float32).eps),
        (torch.bfloat16, torch.finfo(torch.float32).eps),
        (torch.float32, torch.finfo(torch.float32).eps),
        (torch.float64, torch.finfo(torch.float64).eps),
    ],
)
def test_rms_norm_without_eps_adds_the_step_of_the_numbers_that_it_computes_with(dtype, eps):
    """For half precisions that of float32; values of a thousandth, whose square is about as large."""
    x = (1e-3 * torch.linspace(-1, 1, 8, dtype=torch.float64)).to(dtype).reshape(2, 4)
    exact = x.double() / (x.double().square().mean(-1, keepdim=True) + eps).sqrt()

    torch.testing.assert_close(made("rms_norm", (4,)).to(dtype)(x), exact.to(dtype), rtol=1e-2, atol=0)
    assert "1.2e-7" in LAYERS["rms_norm"].__doc__


def test_rms_norm_over_more_axes_has_a_scale_for_each_value():
    x = 2 + torch.randn(2, 3, 4, 5)
    plan, norm = planned("rms_norm", (3, 4, 5), over=2, eps=1e-8), made("rms_norm", (3, 4, 5), over=2, eps=1e-8)

    assert dict(plan.weights) == {"weight": (4, 5)}
    torch.testing.assert_close(norm(x), x / x.square().mean((-1, -2), keepdim=True).sqrt())


@pytest.mark.parametrize(
    ("kind", "torch_class"), [("layer_norm", nn.LayerNorm), ("rms_norm", nn.RMSNorm), ("group_norm", nn.GroupNorm)]
)
def test_eps_is_torch_s(kind, torch_class):
    assert LAYERS[kind].model_fields["eps"].default == inspect.signature(torch_class).parameters["eps"].default


@pytest.mark.parametrize("shape", [(7, 3), (7, 3, 2), (7, 2, 3, 2)])
def test_local_response_norm_has_alexnet_s_sum_with_five_times_its_alpha(shape):
    torch.manual_seed(0)
    x = 30 * torch.randn(2, *shape)
    norm = made("local_response_norm", shape, size=5, alpha=5e-4, k=2)

    squares = x.square()
    sums = torch.stack([squares[:, max(i - 2, 0) : i + 3].sum(1) for i in range(7)], 1)
    torch.testing.assert_close(norm(x), x / (2 + 1e-4 * sums) ** 0.75)


@pytest.mark.parametrize("channels", [4, 6])
def test_initialisers_leave_the_scales_of_norms_alone(channels):
    layers = (
        "- layer_norm: 3\n- rms_norm: {over: 2}\n- group_norm: 2\n- layer_norm: channels\n- book_batch_norm\n"
        "- ghost_batch_norm\n- batch_renorm\n- {instance_norm: {affine: true}}"
    )
    network = build(network_of(f"[{channels}, 3, 3]", layers), INITIALIZERS["he_normal"]())

    for name, value in network.named_parameters():
        assert (value == (0 if name.endswith("bias") else 1)).all(), name


# --- refusals -------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_with_a_way_out():
    assert refused("layer_norm", (4, 5), over=3) == (
        "layer_norm goes over the last 3 axes, and (4, 5) has 2",
        "Give `over` a number up to 2.",
    )
    assert refused("rms_norm", (4,), over=2) == (
        "rms_norm goes over the last 2 axes, and (4,) has 1",
        "Give `over` a number up to 1.",
    )
    assert refused("group_norm", (6, 5), num_groups=4) == (
        "the 6 channels of (6, 5) do not split into num_groups = 4",
        "Pick a divisor of 6.",
    )
    assert refused("instance_norm", (6, 1, 1)) == (
        "instance_norm takes mean and variance over positions, and (6, 1, 1) has a single one",
        "Take `layer_norm` or `group_norm`, or normalise before the positions are gone.",
    )
    assert refused("instance_norm", (6,))[0] == "instance_norm slides over positions, and (6,) has none"
    assert refused("local_response_norm", (6,), size=5) == (
        "local_response_norm wants channels and positions, and (6,) is a vector",
        "`- reshape: [-1, 1]` makes each value a channel with one position.",
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("layer_norm", {"over": "positions"}),
        ("layer_norm", {"over": 0}),
        ("rms_norm", {"eps": 0}),
        ("group_norm", {}),
        ("ghost_batch_norm", {"virtual_batch_size": 0}),
        ("batch_renorm", {"rmax": 0.5}),
        ("batch_renorm", {"dmax": -1}),
        ("book_batch_norm", {"eps_in": "mean"}),
        ("book_batch_norm", {"affine": True}),
        ("instance_norm", {"momentum": 2}),
    ],
)
def test_fields_outside_their_bounds_are_refused(kind, options):
    with pytest.raises(ValidationError):
        LAYERS[kind].model_validate(options)
