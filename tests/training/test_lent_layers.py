"""Weights that networks share are one tensor, which the phases of its owner move: by hand, replayed, packed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import everywhere, experiment_of
from safetensors.torch import load_file

from dlx.errors import SpecError
from dlx.experiment import runner, session
from dlx.runs.folder import RunFolder
from dlx.spec import load
from dlx.trained.predict import predict
from dlx.training import network_sources
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


# --- what is made of a run whose networks share ---------------------------------------------------------------------

SHARED = """\
dlx: 1
name: shared
data: {synthetic: {shape: [6], classes: 2, train: 40, valid: 20, test: 20, labelled: {count: 12}}}
networks:
  trunk: {layers: [{linear: 4, name: middle}, tanh, {linear: 2}]}
  student: {layers: [{share: trunk/middle}, tanh, {linear: 2}]}
  teacher: {copy: student, follow: {every: 1}}
objective: {pseudo_label: {threshold: 0.6}}
freeze: [trunk]
train: {steps: 5, batch_size: 10, optimizer: {sgd: 0.5}, seed: 1}
track: {mlflow: false}
"""
TAUGHT = """\
dlx: 1
name: taught
data: {synthetic: {shape: [6], classes: 2, train: 40, valid: 20, test: 20}}
networks:
  teacher: {from: SOURCE, network: student}
  student: {layers: [{linear: 2}]}
objective: distillation
train: {steps: 3, batch_size: 10, optimizer: {student: {sgd: 0.1}}, save_every: 1, log_every: 1}
track: {mlflow: false}
"""


def by_hand(folder: Path, x: torch.Tensor) -> torch.Tensor:
    """What the student of SHARED answers, with the tensors of its checkpoint alone."""
    saved = load_file(folder / "checkpoints/final.safetensors")
    hidden = torch.tanh(F.linear(x, saved["trunk.middle.weight"], saved["trunk.middle.bias"]))
    return F.linear(hidden, saved["student.linear_1.weight"], saved["student.linear_1.bias"])


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return runner.run(experiment_of(SHARED), tmp_path_factory.mktemp("shared")).results[0].run


def test_new_inputs_are_answered_with_the_shared_weights(shared, tmp_path):
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))
    np.save(tmp_path / "x.npy", x.numpy())
    answers = predict(shared, tmp_path / "x.npy").answers.arrays
    expected = torch.softmax(by_hand(shared.dir, x), 1).numpy()
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-6)
    hidden = predict(shared, tmp_path / "x.npy", of="student/share_1").answers.arrays
    saved = load_file(shared.dir / "checkpoints/final.safetensors")
    middle = F.linear(x, saved["trunk.middle.weight"], saved["trunk.middle.bias"])
    np.testing.assert_allclose(next(iter(hidden.values())), middle.numpy(), atol=1e-6)


def test_a_network_of_a_run_that_shares_is_the_teacher_of_another(shared, tmp_path):
    (tmp_path / "t.yaml").write_text(TAUGHT.replace("SOURCE", str(shared.dir)))
    experiment = load(tmp_path / "t.yaml")
    x = torch.randn(4, 6)
    prepared = prepare(experiment)
    sources = network_sources.networks(prepared.graphs, network_sources.load(experiment), prepared.device)
    with torch.no_grad():
        torch.testing.assert_close(sources["teacher"](x), by_hand(shared.dir, x))
    (result,) = runner.run(experiment, tmp_path / "runs").results
    assert not any(name.startswith("teacher") for name in load_file(result.run.dir / "checkpoints/final.safetensors"))


def test_the_model_in_mlflow_answers_with_the_shared_weights(shared, tmp_path, empty_store):
    import shutil

    from mlflow import MlflowClient, pytorch

    from dlx.track import sync

    run = RunFolder(tmp_path / "shared" / shared.id)
    shutil.copytree(shared.dir, run.dir)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert sync(run, uri).complete
    client = MlflowClient(uri)
    ids = run.read_json("mlflow.json")["model"]["model_id"].split()
    models = {client.get_logged_model(one).name: one for one in ids}
    with everywhere(uri):
        network = pytorch.load_model(f"models:/{models['student']}")
    x = torch.randn(3, 6)
    network = network.module() if hasattr(network, "module") else network
    with torch.no_grad():
        torch.testing.assert_close(network(x), by_hand(run.dir, x))


def test_weights_are_taken_from_a_run_that_shares(shared, tmp_path):
    changed = SHARED.replace("steps: 5", "steps: 1").replace("sgd: 0.5", "sgd: 0.0")
    (result,) = runner.run(experiment_of(f"{changed}weights: {{from: {shared.dir}}}\n"), tmp_path).results
    x = torch.randn(3, 6)
    torch.testing.assert_close(by_hand(result.run.dir, x), by_hand(shared.dir, x))
    (other,) = runner.run(experiment_of(changed), tmp_path).results
    assert not torch.allclose(by_hand(other.run.dir, x), by_hand(shared.dir, x))


def test_pruned_weights_are_zero_in_both_networks_and_counted_once(tmp_path):
    (result,) = runner.run(
        experiment_of(f"{CODER}prune: {{fraction: 0.5, match: encoder/middle}}\n"), tmp_path
    ).results
    networks = {name: network for name, (network, _) in checkpoint.restore_all(result.run.dir).items()}
    middle = networks["encoder"].state_dict()["middle.weight"]
    assert int((middle == 0).sum()) == 12  # of 6 * 4
    assert networks["decoder"].state_dict()["share_1.weight"].equal(middle)


def test_an_average_of_the_owner_is_that_of_what_shares_with_it(tmp_path):
    (result,) = runner.run(
        experiment_of(CODER.replace("steps: 5", "steps: 5, average: {ema: 0.9}")), tmp_path
    ).results
    (plain,) = runner.run(experiment_of(CODER), tmp_path).results
    own = {name: network.state_dict() for name, (network, _) in checkpoint.restore_all(result.run.dir).items()}
    assert own["decoder"]["share_1.weight"].equal(own["encoder"]["middle.weight"])
    last = load_file(plain.run.dir / "checkpoints/final.safetensors")["encoder.middle.weight"]
    assert not own["encoder"]["middle.weight"].equal(last)
