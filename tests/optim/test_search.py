"""Optimizers that look at the loss itself, or at its curvature."""

import pytest
import torch

from dlx.errors import RunError
from dlx.optim import OPTIMIZERS


def made(kind: str, **options):
    return OPTIMIZERS[kind].model_validate(options)


def test_newton_reaches_the_minimum_of_a_quadratic_in_one_step():
    """f = (x - 1)^2 + 10*(y + 2)^2 + x*y: gradient 0 at the solution of [[2, 1], [1, 20]] (x, y) = (2, -40)."""
    x, y = torch.tensor([5.0], requires_grad=True), torch.tensor([5.0], requires_grad=True)
    optimizer = made("newton").build([x, y])
    loss = optimizer.step(lambda: sum((x - 1) ** 2 + 10 * (y + 2) ** 2 + x * y))
    assert loss.item() == 16 + 490 + 25
    assert [x.item(), y.item()] == pytest.approx([80 / 39, -82 / 39])


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # from the import of torch.func
def test_the_hessian_is_that_of_torch_func():
    from dlx.modules.optim import _flat, _hessian

    torch.manual_seed(0)
    x, targets, flat = torch.randn(9, 3), torch.randn(9, 2), torch.randn(3 * 2 + 2)

    def loss(w: torch.Tensor) -> torch.Tensor:
        return (torch.tanh(x @ w[:6].view(3, 2) + w[6:]) - targets).square().mean()

    w = flat.clone().requires_grad_()
    gradient = _flat(torch.autograd.grad(loss(w), [w], create_graph=True))
    torch.testing.assert_close(_hessian(gradient, [w]), torch.func.hessian(loss)(flat))


@pytest.mark.parametrize("loss", [lambda w: w.sum(), lambda w: w[0] ** 2])
def test_a_singular_hessian_is_said_with_the_way_out(loss):
    w = torch.ones(2, requires_grad=True)
    with pytest.raises(
        RunError, match=r"the Hessian is singular, and Newton's step is not defined\n  Raise `damping`"
    ):
        made("newton").build([w]).step(lambda: loss(w))
    made("newton", damping=1.0).build([w]).step(lambda: loss(w))


def test_lbfgs_solves_what_it_is_given_in_a_few_steps():
    """Rosenbrock's valley: the minimum is at (1, 1)."""
    w = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    optimizer = made("lbfgs", line_search_fn="strong_wolfe").build([w])

    def closure() -> torch.Tensor:
        w.grad = None
        loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
        loss.backward()
        return loss.detach()

    for _ in range(5):
        optimizer.step(closure)
    assert w.tolist() == pytest.approx([1, 1], abs=1e-4)


@pytest.mark.parametrize("local", [True, False])
def test_random_search_never_makes_the_loss_larger(local):
    w = torch.tensor([3.0, -2.0], requires_grad=True)
    torch.manual_seed(3)
    optimizer = made("random_search", lr=0.5, local=local).build([w])
    losses = [optimizer.step(lambda: w.square().sum()).item() for _ in range(200)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.2
    assert w.grad is None


def test_what_random_search_draws_follows_the_seed():
    def end(seed: int) -> list[float]:
        torch.manual_seed(seed)
        w = torch.zeros(3, requires_grad=True)
        optimizer = made("random_search", lr=0.5).build([w])
        for _ in range(10):
            optimizer.step(lambda: (w - 1).square().sum())
        return w.tolist()

    assert end(1) == end(1) != end(2)
