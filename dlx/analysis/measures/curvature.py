"""Second derivatives of a loss by the weights: products with the Hessian, its eigenvalues, sharpness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...lazy import np, torch
from .weight_space import copies, move

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    Array = npt.NDArray[np.float64]
    Loss = Callable[[], Tensor]
    Product = Callable[[Array], Array]


def flat_gradient(loss: Loss, weights: Sequence[Tensor], create_graph: bool = False) -> Tensor:
    """Return the gradient of the loss by all weights, as one vector; 0 for weights that it does not depend on."""
    return _flat(torch.autograd.grad(loss(), weights, create_graph=create_graph, allow_unused=True), weights)


def _flat(gradients: Sequence[Tensor | None], weights: Sequence[Tensor]) -> Tensor:
    """Return gradients by weights as one vector, 0 for those that there are not."""
    each = [torch.zeros_like(w) if g is None else g for g, w in zip(gradients, weights, strict=True)]
    return torch.cat([part.flatten() for part in each])


def hessian_product(loss: Loss, weights: Sequence[Tensor]) -> Product:
    """Return the function v -> H v, where H holds the second derivatives of the loss by all weights.

    The gradient is computed once, and its graph stays; each product is one backward pass through it.
    Source: Pearlmutter 1994.
    """
    gradient = flat_gradient(loss, weights, create_graph=True)

    def product(vector: Array) -> Array:
        direction = torch.as_tensor(vector).to(gradient).reshape(-1)
        if not gradient.requires_grad:  # the loss is linear in the weights
            return np.zeros(len(direction))
        found = torch.autograd.grad(gradient, weights, direction, retain_graph=True, allow_unused=True)
        return _flat(found, weights).double().numpy(force=True)

    return product


def whole_hessian(product: Product, size: int) -> Array:
    """Return all second derivatives (size, size), made symmetric: one product a column."""
    found = np.stack([product(column) for column in np.eye(size)])
    return (found + found.T) / 2


class Density(NamedTuple):
    """Eigenvalues that stand for all, with the share of each."""

    values: Array
    shares: Array


def lanczos(product: Product, size: int, steps: int, generator: np.random.Generator) -> Density:
    """Return Ritz values and the share of the spectrum that each stands for, of a symmetric matrix.

    Each new vector is made orthogonal to all before it, twice, so that no value comes twice.
    Source: Golub and Welsch 1969; Ghorbani et al. 2019, arXiv:1901.10159, section 2.
    """
    vector = generator.standard_normal(size)
    basis = [vector / np.linalg.norm(vector)]
    diagonal, beside = [], []
    for _ in range(min(steps, size)):
        ahead = product(basis[-1])
        diagonal.append(float(basis[-1] @ ahead))
        for _ in range(2):
            known = np.stack(basis)
            ahead = ahead - known.T @ (known @ ahead)
        length = float(np.linalg.norm(ahead))
        if length <= 1e-10 * max(map(abs, diagonal), default=1.0) or len(basis) == size:
            break
        beside.append(length)
        basis.append(ahead / length)
    off = beside[: len(diagonal) - 1]
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
    return Density(values, vectors[0] ** 2)


def extremes(product: Product, size: int, seed: int) -> tuple[float, float]:
    """Return the least and the largest eigenvalue, for a size of 3 or more."""
    found = _eigenvalues(product, size, 2, "BE", seed)
    return float(min(found)), float(max(found))


def largest(product: Product, size: int, seed: int) -> float:
    """Return the largest eigenvalue."""
    if size < 3:
        return float(np.linalg.eigvalsh(whole_hessian(product, size))[-1])
    return float(_eigenvalues(product, size, 1, "LA", seed)[0])


def _eigenvalues(product: Product, size: int, count: int, which: str, seed: int) -> Array:
    """Return some eigenvalues by the implicitly restarted Lanczos method of ARPACK, to 1e-4 of their size."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    start = np.random.default_rng(seed).standard_normal(size)
    found: Array = eigsh(operator, k=count, which=which, v0=start, tol=1e-4, return_eigenvectors=False)
    return found


class Sharpness(NamedTuple):
    """How much a loss rises nearby: one step up the gradient, and the most that steps find."""

    ascent: float
    most: float


def sharpness(loss: Loss, weights: Sequence[Tensor], rho: float, steps: int) -> Sharpness:
    """Return how much the loss rises within a ball of radius `rho` around the weights, which stay as they are.

    `ascent` is L(w + rho g / ||g||) - L(w) of sharpness-aware minimisation (Foret et al. 2021, arXiv:2010.01412,
    equation 2); `most` the largest rise that `steps` of projected gradient ascent find.
    """
    start = copies(weights)
    low = float(loss().detach())
    rises, offset = [], torch.zeros(sum(weight.numel() for weight in weights)).to(start[0])
    for index in range(steps):
        gradient = flat_gradient(loss, weights).detach()
        length = float(gradient.norm())
        if length == 0:
            break
        # the first step goes to the sphere; later ones are shorter, and come back to it
        offset = offset + gradient * (rho / length if index == 0 else rho / 2 / length)
        offset = offset * min(1.0, rho / float(offset.norm()))
        move(weights, start, (1.0, unflattened(offset, weights)))
        rises.append(float(loss().detach()) - low)
    move(weights, start)
    return Sharpness(rises[0] if rises else 0.0, max([0.0, *rises]))


def most_in_box(loss: Loss, weights: Sequence[Tensor], epsilon: float, steps: int) -> float:
    """Return how much the loss rises where each weight w moves by at most epsilon (|w| + 1), as L-BFGS-B finds it.

    The weights stay as they are. Source: Keskar et al. 2017, arXiv:1609.04836, equation 4, with A the identity.
    """
    from scipy.optimize import minimize

    start = copies(weights)
    centre = torch.cat([weight.flatten() for weight in start]).double().numpy(force=True)
    sides = epsilon * (np.abs(centre) + 1)
    low = float(loss().detach())

    def fallen(share: Array) -> tuple[float, Array]:
        """Return minus the rise at a point of the box, whose sides go from -1 to 1, and its gradient."""
        move(weights, start, (1.0, unflattened(torch.as_tensor(share * sides).to(start[0]), weights)))
        value = loss()
        found = torch.autograd.grad(value, weights, allow_unused=True)
        gradient = _flat(found, weights).double().numpy(force=True)
        return low - float(value.detach()), -gradient * sides

    # from a corner: in the middle of a minimum the gradient is 0
    corner = np.where(fallen(np.zeros(len(centre)))[1] > 0, -1.0, 1.0)
    bounds = [(-1.0, 1.0)] * len(centre)
    found = minimize(fallen, corner, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps})
    move(weights, start)
    return max(0.0, -float(found.fun))


def unflattened(vector: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """Return a vector as pieces in the shapes of the weights."""
    pieces = torch.split(vector, [weight.numel() for weight in weights])
    return [piece.reshape(weight.shape).to(weight) for piece, weight in zip(pieces, weights, strict=True)]


class AlongGradient(NamedTuple):
    """What happens along one step down the gradient, for each of several lengths."""

    losses: Array
    changes: Array
    ratios: Array


def along_gradient(loss: Loss, weights: Sequence[Tensor], lengths: Sequence[float]) -> AlongGradient:
    """Return loss and gradient at w - r g for each r of `lengths`; the weights stay as they are.

    losses: L(w - r g). changes: ||grad L(w - r g) - g||, how well the gradient predicts the next one. ratios: changes
    over the distance r ||g||, whose maximum is the effective beta-smoothness.
    Source: Santurkar et al. 2018, arXiv:1805.11604, section 3.1 and figure 4.
    """
    start = copies(weights)
    gradient = flat_gradient(loss, weights).detach()
    direction = unflattened(gradient, weights)
    losses, changes = [], []
    for length in lengths:
        move(weights, start, (-length, direction))
        value = loss()
        flat = _flat(torch.autograd.grad(value, weights, allow_unused=True), weights)
        losses.append(float(value.detach()))
        changes.append(float((flat - gradient).norm()))
    move(weights, start)
    distances = np.asarray(lengths) * max(float(gradient.norm()), 1e-300)
    return AlongGradient(np.array(losses), np.array(changes), np.array(changes) / distances)
