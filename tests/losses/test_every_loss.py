"""What holds of every loss: its gradient, its reductions, and that nothing large or sure breaks it."""

import pytest
import torch

from dlx.losses import LOSSES, Loss
from dlx.shapes import Shape

N, K, D = 6, 4, 3
CASES = {
    "cross_entropy": {},
    "cross_entropy, weighed": {"weight": [1.0, 0.5, 2.0, 3.0]},
    "cross_entropy, smoothed": {"label_smoothing": 0.1},
    "cross_entropy, smoothed over the others": {"label_smoothing": 0.1, "smooth": "others"},
    "cross_entropy, ignoring": {"ignore_index": 1},
    "focal": {},
    "focal, weighed": {"weight": [1.0, 0.5, 2.0, 3.0], "gamma": 0.5},
    "hinge": {"margin": 0.7},
    "squared_hinge": {},
    "squared_error": {},
    "absolute_error": {},
    "huber": {"delta": 0.8},
    "smooth_l1": {"beta": 0.8},
    "pinball": {"quantiles": [0.2, 0.5, 0.7]},
    "binary_cross_entropy": {},
    "binary_cross_entropy, weighed": {"pos_weight": 3.0},
    "kl_div": {},
    "dice": {},
    "poisson": {"full": True},
    "gaussian_nll": {"full": True},
    "yolo": {"rescore": False},
    "von_mises": {"kappa": 2.5},
    "von_mises, predicted": {"kappa": "predicted"},
    "mixture_density": {"components": 3},
    "binary_hinge": {"margin": 0.7},
    "binary_hinge, squared": {"squared": True},
    "contrastive": {"margin": 1.5},
    "sum": {"losses": ["cross_entropy", {"focal": {"gamma": 1.0}}], "weights": [1.0, 0.5]},
    "sum, of values": {"losses": [{"huber": {"delta": 0.5}}, "squared_error"]},
    "mixture_density, diagonal": {"components": 2, "diagonal": True},
}


def made(case: str, **more) -> Loss:
    return LOSSES[case.partition(",")[0]](**CASES[case], **more)


def example(loss: Loss, size: tuple[int, ...] = (), n: int = N) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and targets that suit a loss, in float64."""
    torch.manual_seed(3)
    if loss.kind == "yolo":  # two boxes and three classes on a grid of 2x3; a cell in three has an object
        there = (torch.arange(n * 6).reshape(n, 1, 2, 3) % 3 == 0).double()
        return torch.randn(n, 13, 2, 3, dtype=torch.float64), torch.rand(n, 8, 2, 3, dtype=torch.float64) * there
    if loss.wants == "classes":
        return torch.randn(n, K, *size, dtype=torch.float64), torch.randint(K, (n, *size))
    output = torch.randn(n, *loss.outputs(Shape((D, *size))), dtype=torch.float64)
    targets = {
        "binary_hinge": torch.round,
        "contrastive": torch.round,
        "poisson": lambda t: t.mul(3).floor(),
        "kl_div": lambda t: t / t.sum(1, keepdim=True),
    }
    target = torch.rand(n, D, *size, dtype=torch.float64)
    return output, targets.get(loss.kind, lambda t: t)(target)


def test_every_loss_has_a_case():
    # the targets of ctc are sequences: tests/objectives/test_ctc.py
    assert {case.split(",")[0] for case in CASES} == set(LOSSES) - {"ctc"}


@pytest.mark.parametrize("reduction", ["mean", "sum", "batchmean"])
@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_that_of_small_differences(case, reduction):
    loss = made(case, reduction=reduction)
    output, target = example(loss)
    assert torch.autograd.gradcheck(lambda x: loss.function()(x, target), output.requires_grad_())


@pytest.mark.parametrize("case", [case for case in CASES if LOSSES[case.split(",")[0]].on_maps])
def test_a_loss_takes_maps_and_counts_each_position(case):
    """The sum over a map is that over its positions as examples; dice joins positions, which is its point."""
    loss = made(case, reduction="sum")
    output, target = example(loss, (2, 5))
    flat = [t.movedim(1, -1).flatten(0, 2) if t.dim() == 4 else t.flatten() for t in (output, target)]
    if loss.kind != "dice":
        torch.testing.assert_close(loss.function()(output, target), loss.function()(*flat))
    assert loss.function()(output, target).isfinite()


@pytest.mark.parametrize("case", CASES)
def test_reductions_agree(case):
    output, target = example(made(case))
    mean, total, each = (made(case, reduction=r).function()(output, target) for r in ("mean", "sum", "batchmean"))
    torch.testing.assert_close(each, total / N)
    assert (total / mean).item() == pytest.approx(round((total / mean).item(), 6))  # the mean is of something counted


@pytest.mark.parametrize("reduction", ["mean", "batchmean"])
@pytest.mark.parametrize("case", CASES)
def test_means_of_unequal_batches_join_to_that_of_all(case, reduction):
    loss = made(case, reduction=reduction)
    output, target = example(loss)
    parts = [(output[:4], target[:4]), (output[4:], target[4:])]
    joined = sum(loss.function()(x, y) * loss.normalizer(y) for x, y in parts) / sum(
        loss.normalizer(y) for _, y in parts
    )
    torch.testing.assert_close(joined.double(), loss.function()(output, target))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scale", [0.0, 80.0])
def test_outputs_that_are_zero_or_large_give_finite_losses_and_gradients(case, scale):
    """In float32, where exp overflows at 89; a Poisson rate of exp(80) is large, and finite."""
    loss = made(case)
    output, target = (t.float() if t.is_floating_point() else t for t in example(loss))
    output = (output.sign() * scale).requires_grad_()
    found = loss.function()(output, target)
    found.backward()
    assert found.isfinite()
    assert output.grad.isfinite().all()


@pytest.mark.parametrize("case", CASES)
def test_predictions_have_the_shape_of_the_target(case):
    loss = made(case)
    if loss.wants == "values":
        output, target = example(loss)
        assert loss.predict(output).shape == loss.residual(output, target).shape == target.shape
