"""Optimizers do what the books compute by hand."""

import math

import pytest
import torch

from dlx.optim import OPTIMIZERS, WeightGroup


def made(kind: str, **options):
    return OPTIMIZERS[kind].model_validate(options)


def walk(declared, gradients: list[float], start: float = 0.0) -> list[float]:
    """Where one weight stands after each gradient."""
    weight = torch.tensor([start], dtype=torch.float64, requires_grad=True)
    optimizer = declared.build([weight])
    seen = []
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        seen.append(weight.item())
    return seen


def test_the_velocity_of_torch_by_hand():
    """g = 0.1, momentum 0.9, lr 1: v = 0.1, 0.19, 0.271, so w = -0.1, -0.29, -0.561 (CS231n notes)."""
    assert walk(made("sgd", lr=1.0, momentum=0.9), [0.1] * 3) == pytest.approx([-0.1, -0.29, -0.561])


def steps(positions: list[float]) -> list[float]:
    return [before - after for before, after in zip([0.0, *positions], positions, strict=False)]


def test_the_running_mean_of_the_book_by_hand():
    """Gradients 1, 2, 3 with 0.9: a mean of 0.1, 0.29, 0.561; torch's velocity is 1, 2.9, 5.61, ten times as much.

    With torch's dampening of 0.9 it is 1, 1.1, 1.29: the first step is undamped, and so neither is the book's.
    """
    gradients = [1.0, 2.0, 3.0]
    assert steps(walk(made("momentum", lr=1.0, beta=0.9), gradients)) == pytest.approx([0.1, 0.29, 0.561])
    assert steps(walk(made("sgd", lr=1.0, momentum=0.9), gradients)) == pytest.approx([1, 2.9, 5.61])
    damped = made("sgd", lr=1.0, momentum=0.9, dampening=0.9)
    assert steps(walk(damped, gradients)) == pytest.approx([1, 1.1, 1.29])


def test_the_corrected_mean_of_equal_gradients_is_that_gradient():
    corrected = made("momentum", lr=1.0, bias_correction=True)
    assert steps(walk(corrected, [0.5] * 4)) == pytest.approx([0.5] * 4)
    assert steps(walk(corrected, [1.0, 2.0])) == pytest.approx([1.0, 0.29 / 0.19])


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_running_mean_is_a_velocity_with_a_smaller_rate(nesterov):
    gradients = [1.0, -2.0, 3.0, 0.5]
    mean = walk(made("momentum", lr=0.5, beta=0.9, nesterov=nesterov), gradients)
    velocity = walk(made("sgd", lr=0.05, momentum=0.9, nesterov=nesterov), gradients)
    assert mean == pytest.approx(velocity)


def test_nesterov_is_the_step_from_the_point_ahead():
    """CS231n: v' = rho*v - lr*f'(x + rho*v), x' = x + v'; torch's weight is the point ahead, x + rho*v."""
    rho, lr, x, v = 0.9, 0.1, 1.0, 0.0
    weight = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    optimizer = made("sgd", lr=lr, momentum=rho, nesterov=True).build([weight])
    for _ in range(5):
        v = rho * v - lr * 2 * (x + rho * v)
        x += v
        weight.grad = 2 * weight.detach()
        optimizer.step()
        assert weight.item() == pytest.approx(x + rho * v)


def test_the_mean_of_nesterov_is_taken_ahead_too():
    """UDL: m' = beta*m + (1 - beta)*f'(x - lr*beta*m), x' = x - lr*m'."""
    beta, lr, x, m = 0.9, 0.5, 1.0, 0.0
    weight = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    optimizer = made("momentum", lr=lr, beta=beta, nesterov=True).build([weight])
    for _ in range(5):
        m = beta * m + (1 - beta) * 2 * (x - lr * beta * m)
        x -= lr * m
        weight.grad = 2 * weight.detach()
        optimizer.step()
        assert weight.item() == pytest.approx(x - lr * beta * m)


@pytest.mark.parametrize("gradient", [1e-3, 1.0, -500.0])
def test_the_first_step_of_adam_is_the_rate(gradient):
    (first,) = walk(made("adam", lr=0.01), [gradient])
    assert first == pytest.approx(-math.copysign(0.01, gradient), rel=1e-4)


def test_without_bias_correction_the_first_step_of_adam_is_larger():
    """(1 - 0.9) / sqrt(1 - 0.999) = 3.16 times the rate (CS231n: "very large first step")."""
    (first,) = walk(made("adam", lr=0.01, bias_correction=False, eps=1e-7), [2.0])
    assert first == pytest.approx(-0.01 * 0.1 / math.sqrt(0.001), rel=1e-5)


def adam(gradients, lr=0.1, b1=0.9, b2=0.999, eps=0.5, corrected=True, inside=False) -> list[float]:
    """The formulas of CS231n, 7.1.11 to 7.1.14."""
    w = m = v = 0.0
    seen = []
    for t, g in enumerate(gradients, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        first, second = (m / (1 - b1**t), v / (1 - b2**t)) if corrected else (m, v)
        w -= lr * first / (math.sqrt(second + eps) if inside else math.sqrt(second) + eps)
        seen.append(w)
    return seen


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_adam_in_all_its_forms_is_its_formula(corrected, inside):
    gradients = [1.0, -2.0, 3.0, 0.5]
    declared = made("adam", lr=0.1, eps=0.5, bias_correction=corrected, eps_inside=inside)
    assert walk(declared, gradients) == pytest.approx(adam(gradients, corrected=corrected, inside=inside))


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("kind", ["adagrad", "rmsprop"])
def test_a_rate_by_size_is_its_formula(kind, inside):
    """CS231n, 7.1.9 and 7.1.10: r += g^2, or r = 0.9*r + 0.1*g^2; w -= lr*g / (sqrt(r) + eps)."""
    w = r = 0.0
    expected = []
    for g in (gradients := [1.0, -2.0, 3.0]):
        r = r + g * g if kind == "adagrad" else 0.9 * r + 0.1 * g * g
        w -= 0.1 * g / (math.sqrt(r + 0.5) if inside else math.sqrt(r) + 0.5)
        expected.append(w)
    more = {"alpha": 0.9} if kind == "rmsprop" else {}
    assert walk(made(kind, lr=0.1, eps=0.5, eps_inside=inside, **more), gradients) == pytest.approx(expected)


def test_decoupled_decay_shrinks_weights_by_the_rate_and_coupled_decay_enters_the_gradient():
    decoupled = made("adamw", lr=0.1, weight_decay=0.5, eps_inside=True)
    assert walk(decoupled, [0.0], start=2.0) == pytest.approx([2.0 * (1 - 0.1 * 0.5)])
    (coupled,) = walk(made("adam", lr=0.1, weight_decay=0.5, eps_inside=True), [0.0], start=2.0)
    assert coupled == pytest.approx(2.0 - 0.1)  # the first step of Adam is the rate


def test_the_decay_of_the_book_is_torchs_times_the_rate():
    """UDL, equation 9.22: w <- (1 - lambda)*w - lr*g, with lambda = lr * weight_decay."""
    assert walk(made("sgd", lr=0.1, weight_decay=0.3), [1.0], start=2.0) == pytest.approx([2 * (1 - 0.03) - 0.1])


def test_groups_have_rates_and_decays_of_their_own():
    ws = [torch.ones(1, requires_grad=True) for _ in range(3)]
    groups = [
        WeightGroup(ws[:1]),
        WeightGroup(ws[1:2], lr=0.5, weight_decay=0.0),
        WeightGroup(ws[2:], lr_scale=0.1),
    ]
    optimizer = made("sgd", lr=0.1, weight_decay=1.0).build(groups)
    for w in ws:
        w.grad = torch.ones(1)
    optimizer.step()
    assert [w.item() for w in ws] == pytest.approx([1 - 0.1 * 2, 1 - 0.5, 1 - 0.01 * 2])


def test_muon_moves_matrices_along_orthogonal_ones_and_leaves_the_rest_to_another():
    torch.manual_seed(0)
    matrix, bias = torch.zeros(4, 4, requires_grad=True), torch.zeros(4, requires_grad=True)
    optimizer = made("muon", lr=0.1, weight_decay=0.0, rest={"sgd": 0.5}).build([matrix, bias])
    matrix.grad, bias.grad = torch.randn(4, 4), torch.ones(4)
    optimizer.step()
    assert torch.linalg.svdvals(matrix.detach() / 0.1).tolist() == pytest.approx(
        [1.0] * 4, abs=0.35
    )  # 5 rounds of it
    assert bias.tolist() == [-0.5] * 4
