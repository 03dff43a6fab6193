"""Mixup and cutmix: the inputs, the targets and the loss by hand."""

import pytest
import torch
from batches import made
from torch.nn import functional as F

from dlx.augment.base import Mixed, mixing
from dlx.augment.mix import beta
from dlx.augment.pipeline import TrainingSetInfo, pipeline
from dlx.losses import LOSSES
from dlx.objectives import OBJECTIVES

N = 64
X = torch.rand(N, 2, 6, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N)


def mixed(kind, **options):
    torch.manual_seed(0)
    return pipeline([made(kind, **options)], TrainingSetInfo(lambda: X))(X, Y)


def test_mixup_adds_two_examples_and_targets_tell_which():
    x, y = mixed("mixup", alpha=1.0)
    assert 0 < y.share < 1
    assert torch.allclose(x, y.share * X[y.first] + (1 - y.share) * X[y.second])
    assert torch.equal(y.first, Y)
    assert torch.equal(y.second.sort().values, Y)
    assert not torch.equal(y.second, Y)


def test_cutmix_puts_a_box_of_another_example_in_and_counts_its_area():
    x, y = mixed("cutmix")
    box = (x != X).any(1)
    there = box[(y.second != Y)]
    one = there[0]
    assert (there == one).all()  # one box for the batch
    rows, columns = one.any(1).sum(), one.any(0).sum()
    assert one.sum() == rows * columns
    assert y.share.item() == pytest.approx(1 - one.sum().item() / 36)
    assert torch.equal(x, torch.where(one, X[y.second], X))


def test_the_part_left_is_uniform_where_alpha_is_1():
    torch.manual_seed(0)
    draws = torch.stack([beta(1.0, X) for _ in range(3000)])
    assert draws.mean().item() == pytest.approx(1 / 2, abs=0.02)
    assert draws.var().item() == pytest.approx(1 / 12, abs=0.005)
    small = torch.stack([beta(0.2, X) for _ in range(3000)])
    assert small.var().item() == pytest.approx(1 / (4 * 1.4), abs=0.01)  # 1 / (4 (2 alpha + 1))
    assert torch.isfinite(small).all()


def test_the_loss_of_mixed_targets_by_hand():
    """Logits (0, ln 3): cross-entropy ln 4 of class 0 and ln 4/3 of class 1; at 0.25 to 0.75."""
    logits = torch.tensor([[0.0, 3.0]]).log().nan_to_num(neginf=0.0)
    target = Mixed(torch.tensor([0]), torch.tensor([1]), torch.tensor(0.25))
    found = mixing(F.cross_entropy)(logits, target)
    assert found.item() == pytest.approx(0.25 * 1.386294 + 0.75 * 0.287682, abs=1e-5)


@pytest.mark.parametrize("kind", [k for k in sorted(LOSSES) if LOSSES[k].wants == "classes"])
def test_every_loss_of_classes_is_mixed(kind):
    logits = torch.randn(5, 3)
    a, b, share = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([2, 1, 0, 1, 0]), torch.tensor(0.3)
    loss = LOSSES[kind]().function()
    found = mixing(loss)(logits, Mixed(a, b, share))
    assert found.item() == pytest.approx((0.3 * loss(logits, a) + 0.7 * loss(logits, b)).item(), rel=1e-6)


def test_auxiliary_losses_and_flooding_take_mixed_targets_too():
    objective = OBJECTIVES["classification"].model_validate({"aux": {"side": 0.5}, "flooding": 2.0})
    main, side = torch.randn(4, 3), torch.randn(4, 3)
    a, b, share = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 1, 0, 2]), torch.tensor(0.6)
    found = objective.training_loss(mixing)({"main": main, "side": side}, Mixed(a, b, share))

    def one(output):
        return 0.6 * F.cross_entropy(output, a) + 0.4 * F.cross_entropy(output, b)

    assert found.item() == pytest.approx(((one(main) + 0.5 * one(side) - 2).abs() + 2).item(), rel=1e-6)


def test_targets_that_are_not_mixed_give_the_loss_itself():
    logits, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    assert torch.equal(mixing(F.cross_entropy)(logits, target), F.cross_entropy(logits, target))
