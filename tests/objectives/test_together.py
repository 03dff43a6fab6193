"""What several networks say together: by hand, from what each of them says."""

import math

import pytest
import torch
from torch.nn import functional as F

from dlx.losses import LOSSES
from dlx.objectives import OBJECTIVES
from dlx.objectives.ensemble import EnsembleEvaluation, check_combine, combined


def logits(*rows):
    """Members' outputs for one example, (members, 1, classes), whose softmax is `rows`."""
    return torch.tensor(rows).log()[:, None]


def said(outputs, how, kind="classification", **options):
    return combined(OBJECTIVES[kind].model_validate(options), outputs, how)


def test_the_average_is_the_mean_of_the_probabilities():
    averaged = said(logits([0.9, 0.1, 0.0 + 1e-9], [0.5, 0.2, 0.3], [0.1, 0.3, 0.6]), "average")

    assert averaged.softmax(1)[0].tolist() == pytest.approx([0.5, 0.2, 0.3], abs=1e-6)
    assert F.cross_entropy(averaged, torch.tensor([1])).item() == pytest.approx(-math.log(0.2), rel=1e-5)


def test_the_average_of_huge_logits_is_finite():
    averaged = said(torch.tensor([[[1000.0, 0.0]], [[0.0, 0.0]]]), "average")

    assert averaged.softmax(1)[0].tolist() == pytest.approx([0.75, 0.25])


def test_a_vote_is_won_by_most_members_and_not_by_the_surest():
    outputs = logits([0.51, 0.49], [0.51, 0.49], [0.01, 0.99])

    assert said(outputs, "vote").argmax(1).tolist() == [0]
    assert said(outputs, "average").argmax(1).tolist() == [1]


def test_a_tie_goes_to_the_larger_mean_probability():
    """One vote each for 0, 1 and 2; their mean probabilities are 0.4, 0.45 and 0.15."""
    outputs = logits([0.6, 0.3, 0.1], [0.04, 0.86, 0.1], [0.3, 0.3, 0.4])
    mean = outputs.softmax(2).mean(0)[0]

    assert outputs.argmax(2).flatten().tolist() == [0, 1, 2]
    assert said(outputs, "vote").argmax(1).item() == mean.argmax().item() == 1
    assert said(logits([0.8, 0.2], [0.45, 0.55]), "vote").argmax(1).item() == 0
    assert said(logits([0.55, 0.45], [0.2, 0.8]), "vote").argmax(1).item() == 1


def test_a_tie_that_is_one_through_and_through_goes_to_the_first():
    assert said(logits([0.7, 0.3], [0.3, 0.7]).round(decimals=6), "vote").argmax(1).item() == 0


def test_behind_the_winner_classes_come_by_votes_and_then_by_probability():
    """Two votes for 2, one for 0, none for 1 and 3, of which 3 is likelier."""
    outputs = logits([0.2, 0.1, 0.5, 0.2], [0.1, 0.1, 0.5, 0.3], [0.7, 0.1, 0.1, 0.1])

    assert said(outputs, "vote").argsort(1, descending=True)[0].tolist() == [2, 0, 3, 1]


def test_unanimous_members_name_a_class_and_others_class_0():
    agree, differ = logits([0.1, 0.2, 0.7], [0.3, 0.3, 0.4]), logits([0.1, 0.2, 0.7], [0.3, 0.4, 0.3])

    assert said(torch.cat([agree, differ], 1), "unanimous").argmax(1).tolist() == [2, 0]


def test_each_position_of_a_map_votes_for_itself():
    torch.manual_seed(0)
    outputs = torch.randn(3, 2, 4, 5, 6)
    votes = F.one_hot(outputs.argmax(2), 4).sum(0).movedim(-1, 1)
    winner = said(outputs, "vote", "segmentation").argmax(1)

    assert winner.shape == (2, 5, 6)
    assert torch.equal(votes.gather(1, winner[:, None])[:, 0], votes.amax(1))


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "squared_error"])
def test_one_logit_votes_yes_or_no(loss):
    """Yes, no, a tie that is more of a yes, one that is more of a no."""
    p = torch.tensor([[0.9, 0.9, 0.9, 0.6], [0.8, 0.1, 0.4, 0.1]])[..., None]
    p = torch.cat([p, torch.tensor([[0.1, 0.2, 0.9, 0.6], [0.8, 0.3, 0.4, 0.1]])[..., None]])
    objective = OBJECTIVES["binary_classification"].model_validate({"loss": LOSSES[loss]()})
    outputs = p.logit() if loss == "binary_cross_entropy" else p
    decided = objective.loss.predict(combined(objective, outputs, "vote")).squeeze(1) > 0.5
    all_agree = objective.loss.predict(combined(objective, outputs, "unanimous")).squeeze(1) > 0.5
    mean = objective.loss.predict(combined(objective, outputs, "average"))

    assert decided.tolist() == [True, False, True, False]
    assert all_agree.tolist() == [False, False, False, False]
    assert mean.flatten().tolist() == pytest.approx(p.mean(0).flatten().tolist(), rel=1e-5)


# --- losses that are no cross-entropy -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(LOSSES))
def test_members_that_say_the_same_say_it_together(kind):
    """Probabilities, or predictions, of one output three times are its own."""
    torch.manual_seed(0)
    loss = LOSSES[kind].model_validate({"losses": ["cross_entropy", "hinge"]} if kind == "sum" else {})
    output = torch.randn(5, 6)
    if not loss.averageable:
        assert kind in {"mixture_density", "yolo"}
        return
    averaged = loss.averaged(output.expand(3, *output.shape))
    own, together = loss.probabilities(output), loss.probabilities(averaged)

    torch.testing.assert_close(loss.predict(averaged).softmax(1), loss.predict(output).softmax(1))
    if own is not None:
        torch.testing.assert_close(together, own)


def test_rates_of_poisson_are_averaged():
    averaged = LOSSES["poisson"]().averaged(torch.tensor([2.0, 4.0, 9.0]).log()[:, None, None])

    assert averaged.exp().item() == pytest.approx(5.0)


def test_gaussians_become_one_with_the_mean_and_variance_of_their_mixture():
    """Means 1 and 3, variances 0.5 and 1.5: mean 2, variance 1 within and 1 between."""
    loss = LOSSES["gaussian_nll"](eps=1e-12)
    averaged = loss.averaged(torch.tensor([[[1.0, math.log(0.5)]], [[3.0, math.log(1.5)]]]))

    assert averaged[0].tolist() == pytest.approx([2.0, math.log(2.0)], rel=1e-6)


def test_directions_are_averaged_around_the_circle():
    turn = torch.tensor([math.pi - 0.2, -math.pi + 0.4])[:, None, None]

    assert LOSSES["von_mises"]().averaged(turn).item() == pytest.approx(-math.pi + 0.1, abs=1e-5)


def test_predicted_concentrations_add_as_arrows_do():
    """Arrows of length 3 to the east and 4 to the north come to one of 5/2."""
    loss = LOSSES["von_mises"](kappa="predicted")
    s = [math.log(math.expm1(length)) for length in (3.0, 4.0)]
    averaged = loss.averaged(torch.tensor([[[math.pi / 2, s[0]]], [[0.0, s[1]]]]))

    assert averaged[0, 0].item() == pytest.approx(math.atan2(3, 4))
    assert F.softplus(averaged[0, 1]).item() == pytest.approx(2.5, rel=1e-5)


# --- judged ---------------------------------------------------------------------------------------------------------


def judged(how, **options):
    torch.manual_seed(1)
    outputs, target = torch.randn(3, 40, 4), torch.randint(4, (40,))
    together = EnsembleEvaluation(OBJECTIVES["classification"].model_validate(options), how)
    for rows in (slice(0, 25), slice(25, 40)):
        together.add_all(list(outputs[:, rows]), target[rows])
    return together.result(), outputs, target


def test_the_metrics_of_an_average_are_those_of_the_mean_probabilities():
    found, outputs, target = judged("average", metrics=["perplexity", {"top_k_error": 2}])
    p = outputs.softmax(2).mean(0)
    right = p[torch.arange(40), target]

    assert found["loss"] == pytest.approx(-right.log().mean().item(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((p.argmax(1) == target).float().mean().item())
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]), rel=1e-5)
    assert found["top_2_error"] == pytest.approx(((p > right[:, None]).sum(1) > 1).float().mean().item())


def test_a_vote_has_no_loss_and_no_metric_of_probabilities():
    found, outputs, target = judged("vote", metrics=["f1", "perplexity", "auroc", {"top_k_error": 2}])
    votes = F.one_hot(outputs.argmax(2), 4).sum(0) + outputs.softmax(2).mean(0) / 2
    hits = votes.argmax(1) == target

    assert list(found) == ["accuracy", "error", "f1", "top_2_error"]
    assert found["error"] == pytest.approx(1 - hits.float().mean().item())
    assert found["top_2_error"] == pytest.approx(
        (votes.topk(2).indices != target[:, None]).all(1).float().mean().item()
    )


def test_values_are_not_voted_for():
    problem = check_combine(OBJECTIVES["regression"](), "vote")
    assert problem is not None
    assert problem.message == "networks vote for classes, and regression has values"
    assert check_combine(OBJECTIVES["regression"](), "average") is None


def test_mixtures_have_no_average_of_their_own_form():
    problem = check_combine(OBJECTIVES["regression"].model_validate({"loss": LOSSES["mixture_density"]()}), "average")
    assert problem is not None
    assert problem.message.startswith("the outputs of mixture_density have no mean that is an output too")
