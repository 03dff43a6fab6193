"""Distillation by hand and by torch; over the seeds a trained teacher helps, and an untrained one does not."""

import math

import pytest
import torch
from helpers import SHIPPED
from quality import all_of, mean_of, unmet
from scipy.stats import ttest_rel
from torch.nn import functional as F

from dlx.data.batch import Batch
from dlx.experiment import runner
from dlx.objectives.distillation import Distillation
from dlx.spec import load

NAME = "zoo/distillation"
T, ALPHA = 2.0, 0.75
UNTRAINED = "stages.teacher.train={steps: 1, optimizer: {sgd: 1e-20}}"


def terms(student, teacher, target, **options):
    def call(network, x):
        return {"student": student, "teacher": teacher}[network]

    objective = Distillation(**{"temperature": T, "alpha": ALPHA, **options})
    batch = Batch({"input": torch.zeros(len(target), 1), "target": target})
    return objective.terms("student", call, batch, torch.Generator())


def test_the_loss_of_two_classes_by_hand():
    # the teacher's logits (2 ln 3, 0) at T = 2 give 3/4 and 1/4, the student's (0, 0) give 1/2 each
    found = terms(torch.zeros(1, 2), torch.tensor([[2 * math.log(3), 0.0]]), torch.tensor([1]))
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(found["divergence"]) == pytest.approx(ALPHA * T**2 * divergence, rel=1e-6)
    assert float(found["cross_entropy"]) == pytest.approx((1 - ALPHA) * math.log(2), rel=1e-6)
    reversed_ = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert abs(divergence - reversed_) > 0.01  # KL(student || teacher) is another number


def test_its_gradient_is_that_of_the_probabilities():
    torch.manual_seed(0)
    student, teacher = torch.randn(7, 5, dtype=torch.float64, requires_grad=True), torch.randn(7, 5).double()
    target = torch.randint(5, (7,))
    found = terms(student, teacher, target)
    sum(found.values()).backward()
    # Hinton et al. 2015, equation 2: (q - p) / T for the soft targets, times T^2 of the factor
    soft = ALPHA * T * ((student / T).softmax(1) - (teacher / T).softmax(1)) / 7
    hard = (1 - ALPHA) * (student.softmax(1) - F.one_hot(target, 5)) / 7
    torch.testing.assert_close(student.grad, (soft + hard).detach(), rtol=1e-12, atol=1e-14)
    of_torch = torch.nn.KLDivLoss(reduction="batchmean")((student / T).log_softmax(1), (teacher / T).softmax(1))
    torch.testing.assert_close(found["divergence"], ALPHA * T**2 * of_torch, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("alpha", "names"), [(0, ["cross_entropy"]), (1, ["divergence"])])
def test_a_term_without_weight_is_left_out(alpha, names):
    assert list(terms(torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([0]), alpha=alpha)) == names


def trained(tmp_path, *changes):
    results = runner.run(load(SHIPPED[NAME], ["track.mlflow=false", *changes]), tmp_path).results
    return mean_of(one.metrics for one in results), [one.metrics["test/accuracy"] for one in results]


@pytest.mark.slow
def test_a_trained_teacher_helps_over_the_seeds_and_an_untrained_one_does_not(tmp_path):
    (mean, helped), (of_alone, alone) = trained(tmp_path), trained(tmp_path, "objective.distillation.alpha=0")
    of_untrained, untrained = trained(tmp_path, UNTRAINED)
    assert not unmet(NAME, mean)
    assert unmet(NAME, of_alone) == unmet(NAME, of_untrained) == all_of(NAME)
    assert ttest_rel(helped, alone).confidence_interval(0.95).low > 0
    assert ttest_rel(helped, untrained).confidence_interval(0.95).low > 0
    assert ttest_rel(untrained, alone).statistic < 0
