"""Losses of classes, against the numbers that the books work out."""

import math

import pytest
import torch
import torch.nn.functional as F

from dlx.losses import LOSSES

CAT = [3.2, 5.1, -1.7]
CAR = [1.3, 4.9, 2.0]
FROG = [2.2, 2.5, -3.1]
SCORES, TARGETS = torch.tensor([CAT, CAR, FROG]), torch.tensor([0, 1, 2])


def loss(kind: str, output, target, **options) -> float:
    function = LOSSES[kind](**options).function()
    return function(torch.as_tensor(output, dtype=torch.float64), torch.as_tensor(target)).item()


@pytest.mark.parametrize(("scores", "target", "message"), [(CAT, 0, 2.9), (CAR, 1, 0.0), (FROG, 2, 12.9)])
def test_the_hinge_losses_of_three_images(scores, target, message):
    """Deitke, CNNs for Visual Recognition, equations 3.1.3 to 3.1.11; together 15.8 / 3."""
    assert loss("hinge", [scores], [target]) == pytest.approx(message)
    assert loss("hinge", SCORES, TARGETS) == pytest.approx(15.8 / 3)
    assert loss("hinge", SCORES, TARGETS, reduction="sum") == pytest.approx(15.8)


def test_the_squared_hinge_squares_each_violation():
    assert loss("squared_hinge", [CAT], [0]) == pytest.approx(2.9**2)
    assert loss("squared_hinge", [FROG], [2]) == pytest.approx(6.3**2 + 6.6**2)


def test_the_hinge_is_torch_s_times_the_number_of_classes():
    torch.manual_seed(0)
    x, y = torch.randn(7, 5, dtype=torch.float64), torch.randint(5, (7,))
    assert loss("hinge", x, y, margin=0.3) == pytest.approx(5 * F.multi_margin_loss(x, y, margin=0.3).item())


def test_the_softmax_losses_of_the_same_image():
    """The same text, equations 3.2.5 to 3.2.8: 0.13, 0.87, 0.00; 2.04, where it has 0.89, a logarithm to base 10."""
    probabilities = [math.exp(-loss("cross_entropy", [CAT], [k])) for k in range(3)]
    assert [f"{p:.2f}" for p in probabilities] == ["0.13", "0.87", "0.00"]
    assert loss("cross_entropy", [CAT], [0]) == pytest.approx(2.04, abs=0.005)
    assert loss("cross_entropy", [CAT], [0]) / math.log(10) == pytest.approx(0.89, abs=0.005)


def test_the_softmax_losses_of_another_book():
    """Russell & Norvig, section 22.2.2: <5, 2, 0, -2> gives <.946, .047, .006, .001>."""
    losses = [loss("cross_entropy", [[5.0, 2, 0, -2]], [k]) for k in range(4)]
    assert losses == pytest.approx([0.0558479586, 3.0558479586, 5.0558479586, 7.0558479586])
    assert [round(math.exp(-one), 3) for one in losses] == [0.946, 0.047, 0.006, 0.001]


def test_an_undecided_network_loses_the_logarithm_of_the_classes():
    assert loss("cross_entropy", torch.zeros(5, 10), torch.arange(5)) == pytest.approx(math.log(10))


@pytest.mark.parametrize("k", [2, 10])
def test_smoothing_over_the_others_is_torch_s_with_more_of_it(k):
    """Understanding Deep Learning, problem 9.4: 0.9 for the class and 0.1 split over the others."""
    torch.manual_seed(0)
    x, y = torch.randn(8, k, dtype=torch.float64), torch.randint(k, (8,))
    target = torch.full((8, k), 0.1 / (k - 1), dtype=torch.float64)
    target[torch.arange(8), y] = 0.9
    by_hand = -(target * x.log_softmax(1)).sum(1).mean()

    assert loss("cross_entropy", x, y, label_smoothing=0.1, smooth="others") == pytest.approx(by_hand.item())
    torchs = F.cross_entropy(x, y, label_smoothing=0.1 * k / (k - 1))
    assert torchs.item() == pytest.approx(by_hand.item())
    assert loss("cross_entropy", x, y, label_smoothing=0.1) == pytest.approx(
        F.cross_entropy(x, y, label_smoothing=0.1).item()
    )


def test_more_smoothing_of_the_others_than_there_is_room_for_is_refused():
    message = LOSSES["cross_entropy"](label_smoothing=0.8, smooth="others").check(4)
    assert message == "label_smoothing 0.8 over the others of 4 classes is above 0.75"
    assert LOSSES["cross_entropy"](label_smoothing=0.75, smooth="others").check(4) == ""


def test_weights_count_in_the_mean_as_torch_has_it():
    weight = [1.0, 2.0, 5.0]
    each = [loss("cross_entropy", row[None], k[None]) for row, k in zip(SCORES, TARGETS, strict=True)]
    by_hand = sum(w * one for w, one in zip(weight, each, strict=True))
    assert loss("cross_entropy", SCORES, TARGETS, weight=weight) == pytest.approx(by_hand / 8)
    assert loss("cross_entropy", SCORES, TARGETS, weight=weight, reduction="sum") == pytest.approx(by_hand)
    assert loss("cross_entropy", SCORES, TARGETS, weight=weight, reduction="batchmean") == pytest.approx(by_hand / 3)


@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
def test_weights_for_another_number_of_classes_are_refused(kind):
    message = LOSSES[kind](weight=[1.0, 2.0]).check(3)
    assert message == f"`weight` of {kind} has 2 values, and the data has 3 classes"


def test_ignored_pixels_do_not_count():
    torch.manual_seed(0)
    x, y = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randint(3, (2, 4, 4))
    y[:, 0] = 255
    seen = loss("cross_entropy", x[:, :, 1:], y[:, 1:])
    assert loss("cross_entropy", x, y, ignore_index=255) == pytest.approx(seen)


def test_a_batch_of_which_nothing_counts_loses_nothing():
    x = torch.randn(2, 3, requires_grad=True)
    found = LOSSES["cross_entropy"](ignore_index=255).function()(x, torch.tensor([255, 255]))
    found.backward()
    assert found.item() == 0
    assert (x.grad == 0).all()


def test_focal_is_cross_entropy_without_gamma_and_less_with_it():
    assert loss("focal", SCORES, TARGETS, gamma=0.0) == pytest.approx(loss("cross_entropy", SCORES, TARGETS))
    p = math.exp(-loss("cross_entropy", [CAR], [1]))
    assert loss("focal", [CAR], [1]) == pytest.approx(-((1 - p) ** 2) * math.log(p))


def test_focal_of_two_logits_is_the_binary_form():
    """Lin et al. 2017: a class at p = 0.9 loses a hundredth of its cross-entropy at gamma = 2."""
    logit = math.log(0.9 / 0.1)
    assert loss("focal", [[0.0, logit]], [1]) == pytest.approx(-math.log(0.9) / 100)
    assert loss("focal", [[0.0, logit]], [1], weight=[0.75, 0.25]) == pytest.approx(-math.log(0.9) / 400)


def test_classes_that_lie_side_by_side_give_the_same_mean_as_torch():
    output = torch.randn(3, 5, 4, 2).to(memory_format=torch.channels_last).requires_grad_()
    target = torch.tensor([[0, 1], [2, 3], [4, 0], [1, -100]]).expand(3, 4, 2)
    loss = LOSSES["cross_entropy"]().function()(output, target)
    (gradient,) = torch.autograd.grad(loss, output)
    wanted = torch.nn.functional.cross_entropy(output.contiguous(), target)
    (expected,) = torch.autograd.grad(wanted, output)

    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(gradient, expected)
