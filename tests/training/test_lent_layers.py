"""Weights that networks share are one tensor, which the phases of its owner move: by hand, replayed, packed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import experiment_of
from safetensors.torch import load_file

from dlx.errors import SpecError
from dlx.experiment import runner, session
from dlx.training.checkpoints import checkpoint
from dlx.training.fit import fit
from dlx.training.prepared import prepare

CODER = """\
dlx: 1
name: coder
data: {synthetic: {shape: [6], classes: 2, train: 40, valid: 20, test: 20}}
networks:
  encoder: {layers: [{linear: 4, name: middle}, tanh, {linear: 6}]}
  decoder: {inputs: {z: [6]}, layers: [{share: encoder/middle}, tanh, {linear: 6}]}
objective: autoencoder
train: {steps: 5, batch_size: 10, save_every: 2, log_every: 1, optimizer: {sgd: 0.1}, seed: 1}
track: {mlflow: false}
"""
GAN = """\
dlx: 1
name: pair
data: {moons: {train: 60, valid: 8, test: 8}}
networks:
  discriminator:
    inputs: {point: [2]}
    layers: [{linear: 6}, {linear: 6, name: middle}, {leaky_relu: 0.2}, {linear: 1}]
  generator: {inputs: {noise: [6]}, layers: [{share: discriminator/middle}, tanh, {linear: 2}]}
objective: gan
train: {steps: 30, batch_size: 15, optimizer: {discriminator: {adam: 1e-2}, generator: {adam: 1e-2}}, seed: 1}
track: {mlflow: false}
"""
MIDDLE = "discriminator.middle.weight"


def job_of(text: str) -> Any:
    return session.job_of(prepare(experiment_of(text)))


def weights(job: Any) -> dict[str, torch.Tensor]:
    return {name: one.detach().clone() for name, one in job.network.state_dict().items()}


def after(text: str, steps: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The weights before a training, and after some steps of it."""
    job = job_of(text)
    before = weights(job)
    job.progress.until = steps
    list(fit(job))
    return before, weights(job)


def ended(text: str, folder: Path) -> list[tuple[dict[str, torch.Tensor], dict[str, Any]]]:
    results = runner.run(experiment_of(text), folder).results
    return [(load_file(one.run.dir / "checkpoints/final.safetensors"), one.run.lock()) for one in results]


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(value.equal(other[name]) for name, value in one.items() if not name.startswith("state/"))


def test_both_networks_run_one_tensor_which_is_there_once():
    job = job_of(CODER)
    assert sorted(weights(job)) == sorted(
        f"{name}.{kind}"
        for name in ("encoder.middle", "encoder.linear_1", "decoder.linear_1")
        for kind in ("weight", "bias")
    )
    z, first = torch.randn(3, 6), weights(job)
    own = job.learner.networks["encoder"].middle
    with torch.no_grad():
        own.weight.mul_(2)
    hidden = torch.tanh(F.linear(z, 2 * first["encoder.middle.weight"], first["encoder.middle.bias"]))
    expected = F.linear(hidden, first["decoder.linear_1.weight"], first["decoder.linear_1.bias"])
    torch.testing.assert_close(job.learner.networks["decoder"](z), expected)
    assert len({id(p) for p in job.network.parameters()}) == len(list(job.network.parameters())) == 6


def test_its_gradient_is_the_sum_over_both_networks():
    job = job_of(CODER)
    first, x = weights(job), job.parts["train"].x[:10]
    hand = {name: one.clone().requires_grad_() for name, one in first.items()}

    def layer(name: str, value: torch.Tensor) -> torch.Tensor:
        return F.linear(value, hand[f"{name}.weight"], hand[f"{name}.bias"])

    code = layer("encoder.linear_1", torch.tanh(layer("encoder.middle", x)))
    made = layer("decoder.linear_1", torch.tanh(layer("encoder.middle", code)))
    F.mse_loss(made, x).backward()
    learner = job.learner
    learner.build_phases()
    learner.gradients[0](job.feed.batch(torch.arange(10)))
    for name, weight in job.network.named_parameters():
        torch.testing.assert_close(weight.grad, hand[name].grad, msg=name)
    # twin: the decoder's part alone is another gradient
    decoded = layer("decoder.linear_1", torch.tanh(layer("encoder.middle", code.detach())))
    (alone,) = torch.autograd.grad(F.mse_loss(decoded, x), hand["encoder.middle.weight"])
    assert not torch.allclose(alone, hand["encoder.middle.weight"].grad)


def test_the_phases_of_the_owner_move_it_and_no_others():
    before, moved = after(GAN.replace("generator: {adam: 1e-2}", "generator: {adam: 0}"), 3)
    assert not moved[MIDDLE].equal(before[MIDDLE])
    assert moved["generator.linear_1.weight"].equal(before["generator.linear_1.weight"])
    before, still = after(GAN.replace("discriminator: {adam: 1e-2}", "discriminator: {adam: 0}"), 3)
    assert still[MIDDLE].equal(before[MIDDLE])
    assert not still["generator.linear_1.weight"].equal(before["generator.linear_1.weight"])


def test_the_mode_of_a_lent_layer_is_that_of_its_owner():
    learner = job_of(GAN.replace("{linear: 6, name: middle}", "{dropout: {p: 0.5}, name: middle}")).learner
    learner.networks["generator"].eval()
    assert learner.networks["discriminator"].middle.training
    x = torch.ones(200, 6)
    assert not learner.networks["generator"].share_1(x).equal(x)
    learner.networks["discriminator"].eval()
    assert learner.networks["generator"].share_1(x).equal(x)


def test_an_optimizer_for_a_network_without_weights_of_its_own():
    text = CODER.replace("tanh, {linear: 6}]}\nobjective", "tanh, {share: encoder/linear_1}]}\nobjective")
    prepare(experiment_of(text))
    with pytest.raises(
        SpecError, match="`decoder` has an optimizer, and runs the weights of `encoder`, which has another"
    ):
        prepare(
            experiment_of(
                text.replace("optimizer: {sgd: 0.1}", "optimizer: {encoder: {sgd: 0.1}, decoder: {sgd: 0.1}}")
            )
        )


def test_states_are_given_where_they_are_asked_for():
    text = CODER.replace(
        "{linear: 4, name: middle}, tanh, {linear: 6}",
        "{reshape: [3, 2]}, {lstm: {hidden_size: 2}, name: middle}, flatten",
    )
    text = text.replace(
        "{share: encoder/middle}, tanh, {linear: 6}",
        "{reshape: [3, 2]}, {share: encoder/middle, name: again}, {linear: 6, from: again.state}",
    )
    job = job_of(text)
    encoder, decoder = (job.learner.networks[name] for name in ("encoder", "decoder"))
    z = torch.randn(4, 6)
    hand = torch.nn.LSTM(2, 2, batch_first=True)
    hand.load_state_dict(encoder.middle.state_dict())
    _, (state, _) = hand(z.view(4, 3, 2))
    torch.testing.assert_close(decoder(z), decoder.linear_1(state[0]))
    assert encoder(z).shape == (4, 6)


# --- the ways of a step ---------------------------------------------------------------------------------------------


def test_replayed_steps_leave_the_same_bits(tmp_path):
    text = GAN.replace("steps: 30", "steps: 260")
    ((plain, _),) = ended(text.replace("seed: 1", "seed: 1, trace: false"), tmp_path / "plain")
    ((replayed, lock),) = ended(text.replace("seed: 1", "seed: 1, trace: true"), tmp_path / "replayed")
    assert lock["way"]["step"] == "replayed"
    assert equal(plain, replayed)


def test_packed_seeds_are_as_each_alone(tmp_path):
    together = ended(GAN.replace("seed: 1", "seed: 1, seeds: 2"), tmp_path / "both")
    assert together[0][1]["way"]["step"] == "packed"
    for seed, (packed, _) in enumerate(together, 1):
        ((alone, _),) = ended(GAN.replace("seed: 1", f"seed: {seed}"), tmp_path / str(seed))
        for name, one in alone.items():
            if not name.startswith("state/"):
                torch.testing.assert_close(packed[name], one, rtol=1e-4, atol=1e-5)
    assert not together[0][0][MIDDLE].equal(together[1][0][MIDDLE])


def test_networks_that_share_and_such_that_do_not_are_not_packed_together():
    from dlx.experiment import packing

    own = GAN.replace("{share: discriminator/middle}", "{linear: {out_features: 6}, name: share_1}")
    keys = [packing.packing_key(prepare(experiment_of(text))) for text in (GAN, own)]
    assert keys[0] is not None
    assert keys[0] != keys[1]


# --- out of the run -------------------------------------------------------------------------------------------------


def test_a_network_that_is_taken_out_brings_what_it_shares(tmp_path):
    (result,) = runner.run(experiment_of(CODER), tmp_path).results
    networks = {name: network for name, (network, _) in checkpoint.restore_all(result.run.dir).items()}
    saved = load_file(result.run.dir / "checkpoints/final.safetensors")
    assert not any(name.startswith("decoder.share_1") for name in saved)
    own = networks["decoder"].state_dict()
    assert own["share_1.weight"].equal(saved["encoder.middle.weight"])
    z = torch.randn(3, 6)
    hidden = torch.tanh(F.linear(z, saved["encoder.middle.weight"], saved["encoder.middle.bias"]))
    expected = F.linear(hidden, saved["decoder.linear_1.weight"], saved["decoder.linear_1.bias"])
    torch.testing.assert_close(networks["decoder"](z), expected)


def test_a_copy_follows_what_the_other_shares():
    text = """\
dlx: 1
name: mean
data: {synthetic: {shape: [6], classes: 2, train: 40, valid: 20, test: 20, labelled: {count: 12}}}
networks:
  trunk: {layers: [{linear: 4, name: middle}, tanh, {linear: 2}]}
  student: {layers: [{share: trunk/middle}, tanh, {linear: 2}]}
  teacher: {copy: student, follow: {every: 1}}
objective: {pseudo_label: {threshold: 0.6}}
freeze: [trunk/linear_1]
train: {steps: 3, batch_size: 10, optimizer: {sgd: 0.5}, seed: 1}
track: {mlflow: false}
"""
    with pytest.raises(
        SpecError, match="no phase of `pseudo_label` moves the network `trunk`, whose layers `student` shares"
    ):
        prepare(experiment_of(text))
    text = text.replace("freeze: [trunk/linear_1]", "freeze: [trunk]")
    learner = job_of(text).learner
    own = learner.networks["teacher"].state_dict()
    assert own["share_1.weight"].equal(learner.networks["trunk"].middle.weight)
    with torch.no_grad():
        learner.networks["trunk"].middle.weight.add_(1)
    learner.followings["teacher"].update(1)
    assert own["share_1.weight"].equal(learner.networks["trunk"].middle.weight)
    assert own["share_1.weight"].data_ptr() != learner.networks["trunk"].middle.weight.data_ptr()
