"""Translation without pairs: losses by hand, the pool, what is refused, and errors to partners that are not shown."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from helpers import experiment_of

from dlx.data.generated.unpaired import COLOURS, Unpaired
from dlx.errors import SpecError
from dlx.experiment import runner, session
from dlx.experiment.recorder import RunRecorder
from dlx.objectives.image_pool import ImagePool
from dlx.runs.folder import RunFolder
from dlx.training.fit import Job, fit
from dlx.training.generation.drawings import pictures
from dlx.training.prepared import prepare, ready

SPEC = """
    data: {unpaired: {train: 64, valid: 20, test: 20, size: 4}}
    blocks:
      translate:
        layers: [{conv: {out_channels: 8, kernel_size: 1}}, relu, {conv: {out_channels: 3, kernel_size: 1}}]
      score: {layers: [flatten, {linear: 8}, {leaky_relu: 0.2}, {linear: 1}]}
    networks:
      generator_ab: {inputs: {picture: [3, 4, 4]}, layers: [translate]}
      generator_ba: {inputs: {picture: [3, 4, 4]}, layers: [translate]}
      discriminator_a: {inputs: {picture: [3, 4, 4]}, layers: [score]}
      discriminator_b: {inputs: {picture: [3, 4, 4]}, layers: [score]}
    objective: {cycle: {partner_a: a_in_b, partner_b: b_in_a, pool: 0}}
    train: {steps: 2, batch_size: 16, optimizer: {sgd: 0.05}, seed: 3}
    track: {mlflow: false}
"""


def job_of(text: str) -> Job:
    return session.job_of(prepare(experiment_of(text)))


# --- the data -------------------------------------------------------------------------------------------------------


def test_partners_are_the_same_blots_in_the_colours_of_the_other_side():
    part = Unpaired(train=50, seed=1).load().train
    for side, other, of, partner in (("a", "b", part.x, part.y), ("b", "a", part.more["b"], part.more["b_in_a"])):
        back, front = (np.array(one)[:, None, None] for one in COLOURS[side])
        amounts = (of - back) / (front - back)
        assert np.allclose(amounts, amounts[:, :1], atol=1e-5)  # one amount a pixel, whatever the channel
        back, front = (np.array(one)[:, None, None] for one in COLOURS[other])
        assert np.allclose(back + (front - back) * amounts[:, :1], partner, atol=1e-5)
    assert np.abs(part.y - part.more["b"]).mean() > 0.2  # no pairs


# --- the pool -------------------------------------------------------------------------------------------------------


def test_a_pool_gives_earlier_samples_for_half_of_the_new_ones():
    pool, rng = ImagePool(50), torch.Generator().manual_seed(0)
    first = torch.arange(50.0)[:, None]
    assert torch.equal(pool.exchange(first[:30], rng), first[:30])
    assert torch.equal(pool.exchange(first[30:], rng), first[30:])
    seen = []
    for step in range(1, 80):
        new = torch.arange(10.0)[:, None] + 1000 * step
        found, before = pool.exchange(new, rng), pool.held.clone()
        seen.append(float((found < 1000 * step).float().mean()))
        assert len(torch.unique(before)) == 50  # none is lost or there twice
        assert set(found.flatten().tolist()) <= {*new.flatten().tolist(), *range(1000 * step)}
    assert np.mean(seen) == pytest.approx(0.5, abs=0.07)


def test_a_batch_that_is_larger_than_the_pool_goes_through_it():
    pool, rng = ImagePool(4), torch.Generator().manual_seed(0)
    new = torch.arange(10.0)[:, None]
    assert sorted(pool.exchange(new, rng).flatten().tolist() + pool.held.flatten().tolist()) == sorted(
        [*range(10), *range(4)]
    )
    assert pool.exchange(new + 100, rng).shape == (10, 1)


# --- a step ---------------------------------------------------------------------------------------------------------


def test_two_steps_are_those_of_a_loop_by_hand():
    job = job_of(SPEC)
    nets = {name: deepcopy(one) for name, one in job.learner.networks.items()}
    f, g, on_a, on_b = (
        nets[f"{name}"] for name in ("generator_ab", "generator_ba", "discriminator_a", "discriminator_b")
    )
    order = torch.randperm(64, generator=torch.Generator().manual_seed(3)).split(16)
    fields = job.parts["train"].fields

    def l1(x, y):
        return (x - y).abs().mean()

    def move(loss, *moved):
        weights = [p for one in moved for p in one.parameters()]
        for p, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            p.data -= 0.05 * slope

    for step in range(2):
        a, b = fields["a"][order[step]], fields["b"][order[step]]
        made_b, made_a = f(a), g(b)
        loss = (on_a(made_a) - 1).square().mean() + (on_b(made_b) - 1).square().mean()
        loss = loss + 10 * (l1(g(made_b), a) + l1(f(made_a), b)) + 5 * (l1(g(a), a) + l1(f(b), b))
        move(loss, f, g)
        made_b, made_a = f(a).detach(), g(b).detach()
        loss = (on_a(a) - 1).square().mean() + on_a(made_a).square().mean()
        move(loss + (on_b(b) - 1).square().mean() + on_b(made_b).square().mean(), on_a, on_b)
    list(fit(job))
    for name, network in nets.items():
        for p, wanted in zip(job.learner.networks[name].parameters(), network.parameters(), strict=True):
            assert torch.allclose(p, wanted, rtol=1e-5, atol=1e-6), name


def test_partners_are_not_read_by_a_step():
    job, other = job_of(SPEC), job_of(SPEC)
    for name in ("a_in_b", "b_in_a"):
        other.parts["train"].fields[name].zero_()
    list(fit(job)), list(fit(other))
    for p, wanted in zip(job.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(p, wanted)


def test_the_errors_are_those_to_the_partners():
    job = job_of(SPEC)
    *_, end = fit(job)
    test = job.parts["test"].fields
    with torch.inference_mode():
        made = job.learner.networks["generator_ab"](test["a"])
    assert end.metrics["test/error_ab"] == pytest.approx(float((made - test["a_in_b"]).abs().mean()), rel=1e-5)


def test_a_sheet_shows_there_and_back():
    found = pictures(job_of(SPEC), 6, torch.Generator())
    assert {name: one.values.shape for name, one in found.items()} == dict.fromkeys(
        ["from_a", "from_b"], (3, 6, 3, 4, 4)
    )
    assert np.array_equal(found["from_a"].values[0], job_of(SPEC).parts["valid"].fields["a"][:6].numpy())


def final_weights(folder: RunFolder) -> bytes:
    return (folder.dir / "checkpoints" / "final.safetensors").read_bytes()


def test_a_training_that_goes_on_has_the_same_pools_and_bits(tmp_path, monkeypatch):
    """Cut off when the pools are full; without their state it ends elsewhere."""
    text = SPEC.replace("pool: 0", "pool: 24").replace("steps: 2", "steps: 8, save_every: 1")
    prepared = prepare(experiment_of(text))
    folders = [session.new_run(prepared, tmp_path) for _ in range(3)]
    session.train_run(RunRecorder(folders[0]), prepared, session.Session())
    for folder in folders[1:]:
        session.train_run(RunRecorder(folder), prepared, session.Session(until=5))
    runner.resume(folders[1])
    assert final_weights(folders[1]) == final_weights(folders[0])
    monkeypatch.setattr(ImagePool, "load", lambda self, state: None)
    runner.resume(folders[2])
    assert final_weights(folders[2]) != final_weights(folders[0])


# --- what is refused ------------------------------------------------------------------------------------------------


def refused(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        ready(experiment_of(text))
    return str(caught.value)


def test_a_missing_network_is_named():
    assert "cycle wants `generator_ba`" in refused(SPEC.replace("generator_ba:", "generator_c:"))


def test_a_generator_that_changes_the_shape_is_refused():
    assert "cycle gives `discriminator_b` (4, 4, 4)" in refused(
        SPEC.replace("{out_channels: 3,", "{out_channels: 4,")
    )


def test_fields_that_are_not_there_are_named():
    assert "`picture`" in refused(SPEC.replace("cycle: {", "cycle: {a: c, "))
    assert "partner" in refused(SPEC.replace("partner_a: a_in_b", "partner_a: nothing"))


# --- the identity loss ----------------------------------------------------------------------------------------------

POINTS = """
    data:
      arrays:
        path: PATH
        inputs: {a: a, b: b}
        targets: {a_in_b: {array: ab, is: values}, b_in_a: {array: ba, is: values}}
        test: 200
    blocks:
      move: {layers: [{linear: 2, values: {weight: [[-0.3, 0], [0, 0.3]]}}]}
      score: {layers: [{linear: 16}, {leaky_relu: 0.2}, {linear: 16}, {leaky_relu: 0.2}, {linear: 1}]}
    networks:
      generator_ab: {inputs: {x: [2]}, layers: [move]}
      generator_ba: {inputs: {x: [2]}, layers: [move]}
      discriminator_a: {inputs: {x: [2]}, layers: [score]}
      discriminator_b: {inputs: {x: [2]}, layers: [score]}
    objective: {cycle: {cycle: 1, identity: IDENTITY, pool: 0, partner_a: a_in_b, partner_b: b_in_a}}
    train: {steps: 300, batch_size: 64, optimizer: {adam: {lr: 1e-2, betas: [0.5, 0.9]}}, evaluate_every: 300}
    track: {mlflow: false}
"""


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Points of which the sides differ in the second coordinate; both have the first one, which is symmetric."""
    rng = np.random.default_rng(0)
    a, b = (np.stack([rng.normal(size=1000), v + 0.1 * rng.normal(size=1000)], 1).astype(np.float32) for v in (-1, 1))
    path = tmp_path_factory.mktemp("sides") / "x.npz"
    np.savez(path, a=a, b=b, ab=a * [1, -1], ba=b * [1, -1])
    return path


@pytest.mark.parametrize("identity", [1, 0])
def test_the_identity_loss_keeps_what_both_sides_have_and_without_it_that_is_turned_round(sides, identity):
    # generators begin with a first coordinate of the other sign: discriminators and cycles are as content with it
    text = POINTS.replace("PATH", str(sides)).replace("IDENTITY", str(identity))
    *_, end = fit(job_of(text))
    errors = [end.metrics["test/error_ab"], end.metrics["test/error_ba"]]
    # a sign of the first coordinate that is turned costs E|2 e| / 2 = 0.80, half of all coordinates
    assert max(errors) < 0.2 if identity else min(errors) > 0.6
