"""Generative adversarial networks: their losses by hand, what is refused, and that a training moves the samples."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from helpers import experiment_of

from dlx.errors import SpecError
from dlx.experiment import session
from dlx.objectives import OBJECTIVES, Ports, adversarial
from dlx.shapes import Shape
from dlx.training.batches.data_part import DataPart
from dlx.training.fit import Job, fit
from dlx.training.prepared import prepare, ready

SPEC = """
    data: {gaussians: {centres: [3.0], train: 400, valid: 300, test: 300}}
    networks:
      generator: {inputs: {noise: [1]}, layers: [{linear: 1}]}
      discriminator: {inputs: {x: [1]}, layers: [linear: 16, relu, linear: 1]}
    objective: {gan: {LOSS}}
    train: {steps: 4, batch_size: 50, optimizer: {adam: 0.01}, log_every: 1, seed: 1}
    track: {mlflow: false}
"""


def spec(loss: str = "", steps: int = 4, optimizer: str = "adam") -> str:
    return SPEC.replace("LOSS", loss).replace("steps: 4", f"steps: {steps}").replace("adam", optimizer)


def job_of(text: str) -> Job:
    return session.job_of(prepare(experiment_of(text)))


def refused(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        ready(experiment_of(text))
    return [f"{problem.message} {problem.mark}" for problem in caught.value.problems]


# --- losses ---------------------------------------------------------------------------------------------------------

REAL, FAKE = (2.0, -1.0), (0.5, -3.0)


def log_sigmoid(x: float) -> float:
    return math.log(1 / (1 + math.exp(-x)))


@pytest.mark.parametrize(
    ("loss", "discriminator", "generator"),
    [
        (
            "minimax",
            -sum(log_sigmoid(x) for x in REAL) / 2 - sum(math.log(1 - 1 / (1 + math.exp(-x))) for x in FAKE) / 2,
            sum(math.log(1 - 1 / (1 + math.exp(-x))) for x in FAKE) / 2,
        ),
        (
            "non_saturating",
            -sum(log_sigmoid(x) for x in REAL) / 2 - sum(log_sigmoid(-x) for x in FAKE) / 2,
            -sum(log_sigmoid(x) for x in FAKE) / 2,
        ),
        ("wasserstein", -0.5 + -1.25, 1.25),
        ("hinge", (0 + 2) / 2 + (1.5 + 0) / 2, 1.25),
        ("least_squares", (1 + 4) / 2 + (0.25 + 9) / 2, (0.25 + 16) / 2),
    ],
)
def test_the_losses_are_those_of_the_papers(loss, discriminator, generator):
    real, fake = torch.tensor(REAL), torch.tensor(FAKE)
    assert float(sum(adversarial.discriminator_losses(loss, real, fake))) == pytest.approx(discriminator, rel=1e-6)
    assert float(adversarial.generator_loss(loss, fake)) == pytest.approx(generator, rel=1e-6)


@pytest.mark.parametrize("loss", ["minimax", "non_saturating", "wasserstein", "hinge", "least_squares"])
def test_the_generator_moves_against_the_discriminator(loss):
    """A step along the generator's gradient raises the score, one along the discriminator's lowers it."""
    for value in (-0.7, 0.3):  # where hinge has a slope
        fake = torch.tensor([value], requires_grad=True)
        (up,) = torch.autograd.grad(adversarial.generator_loss(loss, fake), fake)
        (down,) = torch.autograd.grad(adversarial.discriminator_losses(loss, torch.ones(1), fake)[1], fake)
        assert float(up) < 0
        assert float(down) > 0 or (loss == "least_squares" and value < 0)


def test_the_penalty_is_that_of_a_slope_by_hand():
    x, made = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[3.0, 0.0], [2.0, 2.0]])
    share = torch.tensor([[0.25], [1.0]])
    at = share * x + (1 - share) * made  # the slope of the sum of squares is twice the point
    by_hand = ((2 * at).norm(dim=1) - 1).square().mean()
    found = adversarial.gradient_penalty(lambda p: p.square().sum(1), x, made, share)
    assert float(found.detach()) == pytest.approx(float(by_hand))
    slope = torch.nn.Linear(2, 1)
    adversarial.gradient_penalty(slope, x, made, share).backward()
    norm = slope.weight.norm()
    by_hand = 2 * (norm - 1) * slope.weight / norm
    assert torch.allclose(slope.weight.grad, by_hand)


# --- a step ---------------------------------------------------------------------------------------------------------


def test_two_steps_are_those_of_a_loop_by_hand():
    job = job_of(spec("discriminator_steps: 2", steps=2, optimizer="sgd"))
    generator, discriminator = (job.learner.networks[name] for name in ("generator", "discriminator"))
    g, d = deepcopy(generator), deepcopy(discriminator)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(1)).split(50)
    rng, batches = torch.Generator().manual_seed(1), iter(order)
    moves = {one: torch.optim.SGD(one.parameters(), 0.01) for one in (g, d)}
    softplus = torch.nn.functional.softplus
    for _ in range(2):
        for _repetition in range(2):
            x, made = job.parts["train"].x[next(batches)], g(torch.randn(50, 1, generator=rng)).detach()
            moves[d].zero_grad()
            (softplus(-d(x)).mean() + softplus(d(made)).mean()).backward()
            moves[d].step()
        moves[g].zero_grad()
        softplus(-d(g(torch.randn(50, 1, generator=rng)))).mean().backward()
        moves[g].step()
    list(fit(job))
    for trained, wanted in ((generator, g), (discriminator, d)):
        for p, q in zip(trained.parameters(), wanted.parameters(), strict=True):
            assert torch.allclose(p, q, rtol=1e-6, atol=1e-7)


def test_the_weights_of_the_discriminator_alone_are_clipped():
    job = job_of(spec("loss: wasserstein, clip: 0.05"))
    list(fit(job))
    networks = job.learner.networks.items()
    largest = {name: max(float(p.detach().abs().max()) for p in one.parameters()) for name, one in networks}
    assert largest["discriminator"] == pytest.approx(0.05)
    assert largest["generator"] > 0.05


def test_a_penalty_holds_the_slope_of_the_discriminator_near_one():
    """By the largest slope between two neighbours on a line; without the penalty it is several times as large."""

    def steepest(loss: str) -> float:
        job = job_of(spec(f"loss: wasserstein, discriminator_steps: 5, {loss}", steps=60))
        list(fit(job))
        with torch.inference_mode():
            y = job.learner.networks["discriminator"](torch.linspace(-1, 5, 200)[:, None])
        return float(y.diff(dim=0).abs().max() / (6 / 199))

    assert 0.5 < steepest("gradient_penalty: 10") < 1.5
    assert steepest("gradient_penalty: 0") > 3


def mean_of_samples(text: str) -> float:
    job = job_of(text)
    *_, end = fit(job)
    with torch.inference_mode():
        mean = float(job.learner.networks["generator"](torch.randn(1000, 1)).mean())
    assert end.metrics["test/sliced_wasserstein"] == pytest.approx(abs(mean - 3), abs=0.6)
    return mean


def test_samples_move_to_the_data():
    assert mean_of_samples(spec(steps=400)) == pytest.approx(3, abs=0.6)


def test_samples_stay_away_where_the_discriminator_is_left_out(monkeypatch):
    kind = OBJECTIVES["gan"]
    both = kind.phases
    monkeypatch.setattr(kind, "phases", lambda self: [replace(both(self)[0], every=10**6), both(self)[1]])
    assert abs(mean_of_samples(spec(steps=400)) - 3) > 1.5


# --- classes --------------------------------------------------------------------------------------------------------

BY_CLASS = """
    data: {gaussians: {centres: [-3.0, 0.0, 3.0], std: 0.3, train: 600, valid: 300, test: 300}}
    networks:
      generator:
        inputs: {noise: [1], label: {shape: [], dtype: int}}
        layers:
          - {embedding: {num_embeddings: 3, embedding_dim: 4}, from: label, name: which}
          - {concat: {}, from: [noise, which]}
          - {linear: 16}
          - relu
          - linear: 1
      discriminator:
        inputs: {x: [1], label: {shape: [], dtype: int}}
        layers:
          - {embedding: {num_embeddings: 3, embedding_dim: 4}, from: label, name: which}
          - {concat: {}, from: [x, which]}
          - {linear: 32}
          - {leaky_relu: 0.2}
          - linear: 1
    objective: gan
    train: {steps: 500, batch_size: 60, optimizer: {adam: {lr: 5e-3, betas: [0.5, 0.9]}}}
    track: {mlflow: false}
"""


def test_samples_are_of_the_class_that_is_asked_for_unless_classes_are_shuffled():
    def right(text: str) -> float:
        job = job_of(text)
        if "permuted" in text:
            part = job.parts["train"]
            y = part.fields["target"]
            y.copy_(y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))])
        *_, end = fit(job)
        return float(end.metrics["test/label_accuracy"])

    assert right(BY_CLASS) > 0.9
    assert right(f"{BY_CLASS}    # permuted\n") < 0.6


# --- metrics --------------------------------------------------------------------------------------------------------


def test_what_is_alike_is_covered_and_what_has_collapsed_is_precise_alone():
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    same = torch.randn(500, 2, generator=torch.Generator().manual_seed(1))
    n, k = 500, 5
    expected = 1 - math.prod((n - 1 - i) / (2 * n - 1 - i) for i in range(k))  # section 3.2 of Naeem et al.
    precision, coverage = adversarial.precision_and_coverage(x, same)
    assert float(coverage) == pytest.approx(expected, abs=0.03)
    assert float(precision) > 0.9
    precision, coverage = adversarial.precision_and_coverage(x, x[:1].expand(500, -1) + 1e-4 * same)
    assert float(precision) == 1
    assert float(coverage) < 0.05
    assert [float(one) for one in adversarial.precision_and_coverage(x, same + 100)] == [0, 0]


def test_few_good_samples_do_not_satisfy_the_main_metric():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    y = torch.arange(400) % 4
    noise = [torch.randn(400, 2, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    x, good, few = centres[y] + noise[0], centres[y] + 1.5 * noise[1], centres[0] + 0.1 * noise[2]
    gan = OBJECTIVES["gan"].model_validate({"clusters": "target"})
    assert gan.main_metric == "sliced_wasserstein"
    assert gan.modes()["sliced_wasserstein"] == "min"
    precise = [float(adversarial.precision_and_coverage(x, made)[0]) for made in (good, few)]
    assert precise[0] < precise[1]  # what was the main metric prefers the collapsed samples
    near = [float(adversarial.on_clusters(x, y, made)["on_cluster"]) for made in (good, few)]
    assert near[0] < near[1]
    apart = [float(adversarial.sliced_wasserstein(x, made, torch.Generator().manual_seed(0))) for made in (good, few)]
    assert apart[0] < apart[1] / 5


def test_clusters_are_counted_by_the_share_that_they_have():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    y = torch.arange(400) % 4
    x = centres[y] + torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    made = torch.cat([centres[:1].expand(380, -1), centres[1:2].expand(11, -1), centres[2:3].expand(9, -1)])
    assert adversarial.on_clusters(x, y, made)["clusters"] == 2  # 9 of 400 are less than a tenth of a quarter
    near = adversarial.on_clusters(x, y, centres + torch.tensor([2.5, 0.0]))
    far = adversarial.on_clusters(x, y, centres + torch.tensor([3.5, 0.0]))
    assert (float(near["on_cluster"]), float(near["clusters"])) == (1, 4)
    assert (float(far["on_cluster"]), float(far["clusters"])) == (0, 0)


def test_the_distance_of_two_means_is_that_between_them():
    x = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(1)
    assert float(adversarial.sliced_wasserstein(x, x + 0.7, rng)) == pytest.approx(0.7, rel=1e-5)
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    # of a shift (3, 0) the mean over all directions is 3 times the mean of |cos|, 2 / pi
    found = adversarial.sliced_wasserstein(x, x + torch.tensor([3.0, 0.0]), rng, 1000)
    assert float(found) == pytest.approx(3 * 2 / math.pi, rel=0.03)


@pytest.mark.parametrize("n", [7, 40, 300])
def test_quick_orders_give_the_bits_of_torch_sort_and_kthvalue(n):
    rng = torch.Generator().manual_seed(3)
    # values that are equal are many, as among pictures of few greys
    x, made = (torch.rand(n, 6, generator=rng).mul(4).round() / 4 for _ in range(2))
    found = adversarial.sliced_wasserstein(x, made, torch.Generator().manual_seed(1))
    directions = torch.randn(6, 64, generator=torch.Generator().manual_seed(1))
    directions = directions / directions.norm(dim=0)
    assert torch.equal(found, ((x @ directions).sort(0).values - (made @ directions).sort(0).values).abs().mean())
    radius = torch.cdist(x, x).kthvalue(6, dim=1).values
    inside = torch.cdist(made, x) <= radius
    precision, coverage = adversarial.precision_and_coverage(x, made)
    assert (precision, coverage) == (inside.any(1).float().mean(), inside.any(0).float().mean())


def test_the_radii_of_examples_are_found_once_and_leave_every_evaluation_as_it_is():
    x, made = (torch.rand(20, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(2))
    part = DataPart(x, torch.zeros(20))
    for samples in (made, made.flip(0) / 2):
        (batch,) = part.chunks(64)
        precision, coverage = adversarial.precision_and_coverage(x, samples)
        assert adversarial.precision_and_coverage_of(batch, "input", samples) == {
            "precision": precision,
            "coverage": coverage,
        }
    (again,) = part.chunks(64)
    found = again.once("radii of input", lambda: pytest.fail("they are known"))
    assert torch.equal(found, adversarial.radii(x))


def test_what_is_no_number_makes_the_distance_none():
    x = torch.rand(20, 2)
    found = adversarial.sliced_wasserstein(x, torch.where(x > 0.5, torch.nan, x), torch.Generator().manual_seed(1))
    assert torch.isnan(found)


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_discriminator_of_several_numbers_is_refused():
    (message,) = refused(spec().replace("relu, linear: 1]", "relu, linear: 2]"))
    assert message.startswith("gan takes one number an example from `discriminator`, and it ends in (2,)")
    assert "spec.yaml:6" in message


def test_a_generator_that_makes_no_example_is_refused():
    found = refused(spec().replace("layers: [{linear: 1}]", "layers: [{linear: 3}]"))
    assert any(one.startswith("gan gives `discriminator` (3,) as `x`, the output of `generator`") for one in found)


def test_a_missing_network_is_named():
    (message,) = refused(spec().replace("discriminator:", "critic:"))
    assert message.startswith("gan wants `discriminator`: the spec has the networks `generator` and `critic`")


def test_two_inputs_beside_the_label_are_refused():
    ports = {
        "generator": Ports({"a": Shape((1,)), "b": Shape((1,))}, {"y": Shape((1,))}),
        "discriminator": Ports({"x": Shape((1,))}, {"y": Shape((1,))}),
    }
    with pytest.raises(SpecError, match="gan gives `generator` one input beside `label`, and it has a, b"):
        OBJECTIVES["gan"].model_validate({}).needs({}, ports)


def test_clip_and_penalty_are_two_bounds_of_one_thing():
    (message,) = refused(spec("clip: 0.1, gradient_penalty: 10"))
    assert message.startswith("`clip` and `gradient_penalty` both bound the slope")


def test_clusters_of_no_class_are_refused():
    (message,) = refused(spec("clusters: input"))
    assert message.startswith("`clusters` names `input`, and the data has no such class")
