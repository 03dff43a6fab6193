"""Sharpness-aware minimisation by hand: the place of the gradient, the step of its base, and flat minima."""

import pytest
import torch
from cut_off import assert_it_goes_on
from helpers import SHIPPED, experiment_of
from quality import bounds

from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.optim import OPTIMIZERS
from dlx.spec import load

SAM = OPTIMIZERS["sam"]
SPEC = """
name: s
data: {synthetic: {shape: [6], classes: 3, train: 40, valid: 8}}
network: {layers: [{linear: 8}, relu, {dropout: 0.3}, {linear: 3}]}
train: {epochs: 3, batch_size: 8, save_every: 1, log_every: 1, optimizer: {sam: {rho: 0.1, lr: 0.05}}, device: cpu}
track: {mlflow: false}
"""


def stepped(start, loss, **options):
    """One step from some weights; returns them, the loss it gives and the places where gradients were taken."""
    weights, places = [torch.tensor(one, requires_grad=True) for one in start], []

    def closure():
        places.append([weight.detach().clone() for weight in weights])
        for weight in weights:
            weight.grad = None
        value = loss(*weights)
        value.backward()
        return value.detach()

    value = SAM.model_validate(options).build(weights).step(closure)
    return [weight.detach() for weight in weights], value, places


def test_a_step_of_two_weights_by_hand():
    """f = a^2 + 2 b^2 at (3, 1): g = (6, 4), |g| = sqrt(52); the gradient there moves the weights."""
    (a, b), value, places = stepped([[3.0], [1.0]], lambda a, b: (a**2 + 2 * b**2).sum(), lr=0.1, rho=0.5)
    assert float(value) == 11
    length = 52**0.5
    there = [3 + 0.5 * 6 / length, 1 + 0.5 * 4 / length]
    assert [float(one) for one in places[1]] == pytest.approx(there)
    assert [float(a), float(b)] == pytest.approx([3 - 0.1 * 2 * there[0], 1 - 0.1 * 4 * there[1]])


def test_adaptive_by_hand():
    """Of g = (6, 4) at (3, 1): |w g| = sqrt(18^2 + 4^2), and the way is rho w^2 g / that."""
    _, _, places = stepped([[3.0], [1.0]], lambda a, b: (a**2 + 2 * b**2).sum(), lr=0.1, rho=0.5, adaptive=True)
    length = (18**2 + 4**2) ** 0.5
    there = [3 + 0.5 * 9 * 6 / length, 1 + 0.5 * 1 * 4 / length]
    assert [float(one) for one in places[1]] == pytest.approx(there)


def test_a_tiny_way_is_the_base_alone_and_its_state_goes_on():
    x = torch.tensor([2.0, -1.0], requires_grad=True)
    y = x.detach().clone().requires_grad_()
    mine = SAM.model_validate({"rho": 1e-7, "lr": 0.1, "base": {"adam": {"betas": [0.8, 0.9]}}}).build([x])
    adam = torch.optim.Adam([y], lr=0.1, betas=(0.8, 0.9))

    def closure(weight, optimizer):
        optimizer.zero_grad()
        loss = (weight**4).sum()
        loss.backward()
        return loss

    for _ in range(5):
        mine.step(lambda: closure(x, mine))
        adam.step(lambda: closure(y, adam))
    torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6)


def test_of_two_minima_it_leaves_the_sharp_one():
    """A narrow dent of the loss at 0 in a wide bowl: gradient descent stays in it, this does not."""

    def loss(w):
        return ((w - 1) ** 2 / 2 - 0.6 * torch.exp(-((w / 0.1) ** 2))).sum()

    def end(optimizer):
        w = torch.tensor([0.02], requires_grad=True)
        built = optimizer.build([w])

        def closure():
            w.grad = None
            value = loss(w)
            value.backward()
            return value.detach()

        for _ in range(400):
            built.step(closure)
        return float(w.detach())

    assert end(OPTIMIZERS["sgd"](lr=0.005)) == pytest.approx(0, abs=0.1)
    assert end(SAM(lr=0.005, rho=0.3)) > 0.2


def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(tmp_path):
    assert_it_goes_on(experiment_of(SPEC), tmp_path)


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        ("{sam: {base: lbfgs}}", "`base` must be an optimizer that takes one gradient a step, not lbfgs"),
        ("{sam: {base: {sgd: 0.1}}}", "the rate stands in `sam`: `{lr: 0.1, base: sgd}`"),
        ("{sam: {rho: 0}}", "`rho` must be above 0, not 0"),
    ],
)
def test_a_mistake_is_a_sentence(new, sentence):
    with pytest.raises(SpecError) as raised:
        runner.prepare(experiment_of(SPEC.replace("{sam: {rho: 0.1, lr: 0.05}}", new)))
    assert sentence in str(raised.value)


@pytest.mark.slow
def test_labels_of_which_many_are_wrong_are_learned_by_heart_without_it(tmp_path):
    def accuracies(*changes):
        changed = load(SHIPPED["zoo/sam"], ["track.mlflow=false", "~expect", *changes])
        return [one.metrics["test/accuracy"] for one in runner.run(changed, tmp_path).results]

    least = bounds("zoo/sam")["test/accuracy"]["at_least"]
    assert min(accuracies()) > least
    assert max(accuracies("train.optimizer={sgd: {lr: 0.1, momentum: 0.9}}")) < least - 0.1
