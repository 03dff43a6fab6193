"""Losses of distributions are minus the log-probability that torch.distributions and the books give."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import distributions

from dlx.losses import LOSSES
from dlx.shapes import Shape


def loss(kind: str, output, target, **options) -> float:
    output, target = (torch.as_tensor(t, dtype=torch.float64) for t in (output, target))
    return LOSSES[kind](**options).function()(output, target).item()


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_poisson_is_its_log_probability_up_to_the_factorial():
    s, y = torch.randn(6, 2, dtype=torch.float64), torch.randint(8, (6, 2)).double()
    by_hand = -(distributions.Poisson(s.exp()).log_prob(y) + torch.lgamma(y + 1)).mean()
    assert loss("poisson", s, y) == pytest.approx(by_hand.item())
    assert loss("poisson", [[0.0]], [[5.0]], full=True) == pytest.approx(
        1 + 5 * math.log(5) - 5 + math.log(10 * math.pi) / 2
    )


def test_gaussian_is_its_log_probability_with_a_variance_for_each_value():
    m, s, y = torch.randn(3, 6, 2, dtype=torch.float64)
    variance = s.exp() + 1e-6
    full = -distributions.Normal(m, variance.sqrt()).log_prob(y).mean()
    assert loss("gaussian_nll", torch.cat([m, s], 1), y, full=True) == pytest.approx(full.item())
    assert loss("gaussian_nll", torch.cat([m, s], 1), y) == pytest.approx(F.gaussian_nll_loss(m, y, variance).item())


def test_gaussian_of_a_network_that_is_too_sure_stays_finite_and_can_learn():
    output = torch.tensor([[0.0, -200.0]], requires_grad=True)
    found = LOSSES["gaussian_nll"]().function()(output, torch.tensor([[1.0]]))
    assert found.item() == pytest.approx((math.log(1e-6) + 1e6) / 2)
    found.backward()
    assert output.grad[0, 0].item() == pytest.approx(-1e6)


@pytest.mark.parametrize("kappa", [0.3, 4.0, 90.0])
def test_von_mises_is_its_log_probability(kappa):
    m, y = torch.randn(2, 6, 2, dtype=torch.float64)
    by_hand = -distributions.VonMises(m, torch.tensor(kappa, dtype=torch.float64)).log_prob(y).mean()
    assert loss("von_mises", m, y, kappa=kappa) == pytest.approx(by_hand.item(), rel=1e-6)
    s = torch.full_like(m, math.log(math.expm1(kappa)))  # softplus of it is kappa
    assert loss("von_mises", torch.cat([m, s], 1), y, kappa="predicted") == pytest.approx(by_hand.item(), rel=1e-6)


def test_von_mises_goes_the_shorter_way_round():
    made = LOSSES["von_mises"]()
    assert made.residual(torch.tensor([[3.1]]), torch.tensor([[-3.1]])).item() == pytest.approx(
        6.2 - 2 * math.pi, abs=1e-6
    )
    assert loss("von_mises", [[0.4 + 2 * math.pi]], [[1.0]]) == pytest.approx(loss("von_mises", [[0.4]], [[1.0]]))


MIXTURE = [math.log(0.3), math.log(0.7), 0.0, 1.0, 0.0, math.log(0.25)]
"""Weights (.3, .7), means (0, 1), variances (1, .25)."""


def test_a_mixture_worked_by_hand():
    """.3 N(.5; 0, 1) + .7 N(.5; 1, .25) has the logarithm -0.8110783."""
    density = 0.3 * math.exp(-0.125) / math.sqrt(2 * math.pi) + 0.7 * math.exp(-0.5) / math.sqrt(0.5 * math.pi)
    assert -math.log(density) == pytest.approx(0.8110783494)
    assert loss("mixture_density", [MIXTURE], [[0.5]], components=2, eps=1e-12) == pytest.approx(0.8110783494)
    output = torch.tensor([MIXTURE])
    assert LOSSES["mixture_density"](components=2).predict(output).item() == pytest.approx(0.7)


@pytest.mark.parametrize("diagonal", [True, False])
def test_a_mixture_is_that_of_torch(diagonal):
    k, d = 3, 2
    made = LOSSES["mixture_density"](components=k, diagonal=diagonal, eps=1e-12)
    n = 5
    output = torch.randn(n, *made.outputs(Shape((d,))), dtype=torch.float64)
    y = torch.randn(n, d, dtype=torch.float64)
    logits, means, s = output[:, :k], output[:, k : k + k * d].view(n, k, d), output[:, k + k * d :].view(n, k, -1)
    parts = distributions.Independent(distributions.Normal(means, (s / 2).exp().expand(n, k, d)), 1)
    torchs = distributions.MixtureSameFamily(distributions.Categorical(logits=logits), parts)
    assert made.function()(output, y).item() == pytest.approx(-torchs.log_prob(y).mean().item())
    torch.testing.assert_close(made.predict(output), torchs.mean)


@pytest.mark.parametrize(
    ("kind", "options", "target", "wants"),
    [
        ("gaussian_nll", {}, (3,), (6,)),
        ("gaussian_nll", {}, (2, 8, 8), (4, 8, 8)),
        ("von_mises", {}, (2,), (2,)),
        ("von_mises", {"kappa": "predicted"}, (2,), (4,)),
        ("mixture_density", {"components": 5}, (3,), (5 * (2 + 3),)),
        ("mixture_density", {"components": 5, "diagonal": True}, (3,), (5 * (1 + 2 * 3),)),
        ("poisson", {}, (3,), (3,)),
    ],
)
def test_a_distribution_wants_an_output_for_each_parameter(kind, options, target, wants):
    assert tuple(LOSSES[kind](**options).outputs(Shape(target))) == wants
