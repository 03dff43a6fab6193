"""The contrastive loss and the triplet loss of distances, by hand and against torch's own."""

import pytest
import torch
import torch.nn.functional as F
from helpers import graph_of

from dlx.losses import LOSSES
from dlx.metrics import METRICS

D = torch.tensor([[0.0], [0.4], [1.0], [2.0]], dtype=torch.float64)


def values(target, margin=1.0):
    loss = LOSSES["contrastive"](margin=margin, reduction="sum").function()
    return [loss(d[None], torch.full((1, 1), target, dtype=torch.float64)).item() for d in D]


def test_a_pair_of_one_class_costs_half_its_squared_distance_and_another_what_it_lacks_of_the_margin():
    assert values(1.0) == pytest.approx([0, 0.08, 0.5, 2])
    assert values(0.0) == pytest.approx([0.5, 0.18, 0, 0])
    assert values(0.0, margin=1.5) == pytest.approx([1.125, 0.605, 0.125, 0])


def test_value_and_gradient_are_those_of_torch_s_hinge_embedding_squared_and_halved():
    d = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    target = (torch.arange(50) % 2).double()
    ours, theirs = d.clone().requires_grad_(), d.clone().requires_grad_()
    mine = LOSSES["contrastive"](margin=1.5, reduction="sum").function()(ours, target)
    other = F.hinge_embedding_loss(theirs, 2 * target - 1, margin=1.5, reduction="none").square().sum() / 2
    mine.backward()
    other.backward()

    torch.testing.assert_close(mine, other)
    torch.testing.assert_close(ours.grad, theirs.grad)
    # by hand: d for a pair of one class, d - margin below the margin for one of two
    torch.testing.assert_close(ours.grad, torch.where(target == 1, d, (d - 1.5).clamp_max(0)))


def test_two_equal_embeddings_of_different_classes_have_a_finite_gradient():
    difference = torch.zeros(1, 4, requires_grad=True)
    distance = torch.linalg.vector_norm(difference, dim=1, keepdim=True)
    LOSSES["contrastive"]().function()(distance, torch.zeros(1, 1)).backward()

    assert difference.grad.isfinite().all()


def test_a_pair_is_predicted_the_same_up_to_half_the_margin_and_less_likely_with_distance():
    loss = LOSSES["contrastive"](margin=2.0)
    near, half, far, farther = loss.predict(torch.tensor([0.9, 1.0, 1.1, 5.0])).tolist()

    assert near > half == 0.5 > far > farther > 0


def test_distances_rank_pairs_for_auroc():
    """Of the pairs (0.1, same), (0.9, same), (0.5, different), (3, different) three of four orders are right."""
    loss = LOSSES["contrastive"]()
    scores = loss.predict(torch.tensor([0.1, 0.9, 0.5, 3.0])).logit()
    meter = METRICS["auroc"]().meter(scores, None)
    meter.update(scores, torch.tensor([1, 1, 0, 0]))

    assert float(meter.compute()) == pytest.approx(0.75)


def test_the_hinge_of_the_other_s_distance_is_torch_s_triplet_loss():
    torch.manual_seed(0)
    anchor, first, second = (torch.randn(20, 5, dtype=torch.float64) for _ in range(3))
    target = torch.arange(20) % 2
    to = [torch.linalg.vector_norm(anchor - other, dim=1) for other in (first, second)]
    ours = LOSSES["hinge"](margin=0.7).function()(torch.stack([to[1], to[0]], 1), target)
    nearer = (target == 0)[:, None]
    positive, negative = torch.where(nearer, first, second), torch.where(nearer, second, first)

    theirs = F.triplet_margin_loss(anchor, positive, negative, margin=0.7, eps=0.0)
    torch.testing.assert_close(ours, theirs)


PAIRS = "dlx: 1\ndata: digit_pairs\nobjective: {binary_classification: {loss: contrastive}}\nnetwork: {layers: [%s]}"
FLAT = "{flatten: , from: left, name: a}, {flatten: , from: right, name: b}, {subtract: , from: [a, b]}, "


@pytest.mark.parametrize(
    ("last", "warned"), [("{linear: 1}", True), ("{vector_norm: {dim: 1, keepdim: true}}", False)]
)
def test_outputs_that_may_be_below_zero_are_warned_of(last, warned):
    graph = graph_of(PAIRS % (FLAT + last))
    said = "\n".join(str(w) for w in graph.warnings)

    assert ("contrastive takes distances, and linear gives values below 0 too" in said) is warned
