"""Autoencoders by hand: noise, penalties on the code, its Jacobian; a tied linear one spans principal components."""

import math

import numpy as np
import pytest
import torch
from helpers import experiment_of
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from dlx.data.batch import Batch
from dlx.errors import RunError, SpecError
from dlx.experiment import runner
from dlx.graph import trace_all
from dlx.objectives.autoencoder import Autoencoder, Corruption, Sparsity, squared_jacobian
from dlx.spec import load


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def of(**options):
    return Autoencoder.model_validate(options)


# --- noise, and penalties on the code -------------------------------------------------------------------------------


def test_noise_is_what_it_is_called():
    x = torch.rand(400, 50, generator=rng(1)) + 2
    added = Corruption(gaussian=0.5).applied(x, rng()) - x
    assert float(added.mean()) == pytest.approx(0, abs=0.02)
    assert float(added.std()) == pytest.approx(0.5, abs=0.02)
    masked = Corruption(masking=0.3).applied(x, rng())
    assert float((masked == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert torch.equal(masked[masked != 0], x[masked != 0])
    salted = Corruption(salt_and_pepper=0.4).applied(x, rng())
    assert float((salted == 0).float().mean()) == pytest.approx(0.2, abs=0.02)
    assert float((salted == 1).float().mean()) == pytest.approx(0.2, abs=0.02)
    assert torch.equal(salted[salted > 1], x[salted > 1])


def test_penalties_of_two_codes_by_hand():
    code = torch.tensor([[0.1, 0.9], [0.3, 0.5]])  # units are active by 0.2 and 0.7
    assert float(Sparsity(l1=0.5).terms(code)["l1"]) == pytest.approx(0.5 * (1.0 + 0.8) / 2)
    by_hand = 0.05 * math.log(0.05 / 0.2) + 0.95 * math.log(0.95 / 0.8)
    by_hand += 0.05 * math.log(0.05 / 0.7) + 0.95 * math.log(0.95 / 0.3)
    assert float(Sparsity(kl=3).terms(code)["kl"]) == pytest.approx(3 * by_hand)
    assert Sparsity().terms(code) == {}
    assert float(Sparsity(kl=1, rho=0.2).divergence(torch.tensor([0.2]))) == pytest.approx(0, abs=1e-7)


def test_the_jacobian_of_a_sigmoid_code_is_that_of_the_paper():
    """Rifai et al. 2011, equation 7: sum over j of (h_j (1 - h_j))^2 sum over i of W_ji^2."""
    layer, x = nn.Linear(5, 3), torch.randn(4, 5, generator=rng())
    x.requires_grad_()
    h = layer(x).sigmoid()
    by_hand = ((h * (1 - h)).square() * layer.weight.square().sum(1)).sum(1)
    torch.testing.assert_close(squared_jacobian(h, x), by_hand)
    # its gradient with respect to the weights, which is what training takes
    own = torch.autograd.grad(squared_jacobian(h, x, create_graph=True).mean(), layer.weight, retain_graph=True)
    torch.testing.assert_close(own, torch.autograd.grad(by_hand.mean(), layer.weight))


# --- terms and metrics ----------------------------------------------------------------------------------------------


class Two:
    """An encoder and a decoder that record what they are called with."""

    def __init__(self):
        torch.manual_seed(0)
        self.networks = {"encoder": nn.Sequential(nn.Linear(6, 2), nn.Sigmoid()), "decoder": nn.Linear(2, 6)}
        for network in self.networks.values():
            network.requires_grad_(False)
        self.seen = []

    def __call__(self, name, x):
        if name == "encoder":
            self.seen.append(x.detach())
        return self.networks[name](x)


def test_the_loss_is_against_the_clean_input_and_its_terms_add_up():
    call, x = Two(), torch.rand(8, 6, generator=rng(1))
    one = of(noise={"gaussian": 0.3}, sparsity={"l1": 0.1, "kl": 0.2}, contractive=0.7).of_networks(
        ["encoder", "decoder"]
    )
    found = one.terms("train", call, Batch({"input": x}), rng(3))
    noisy = x + 0.3 * torch.randn(x.shape, generator=rng(3))
    torch.testing.assert_close(call.seen[0], noisy)
    h = call("encoder", noisy)
    torch.testing.assert_close(found["reconstruction"].detach(), F.mse_loss(call("decoder", h), x))
    torch.testing.assert_close(found["l1"].detach(), 0.1 * h.sum(1).mean())
    norm = ((h * (1 - h)).square() * call.networks["encoder"][0].weight.square().sum(1)).sum(1).mean()
    torch.testing.assert_close(found["contraction"].detach(), 0.7 * norm)
    assert list(found) == ["reconstruction", "l1", "kl", "contraction"]
    assert one.phases()[0].moves == ("encoder", "decoder")
    with torch.inference_mode():
        measured = one.evaluate(call, Batch({"input": x}), rng(3))
    torch.testing.assert_close(measured["loss"], found["reconstruction"].detach())
    torch.testing.assert_close(measured["jacobian"], norm.detach())
    torch.testing.assert_close(measured["corrupted_mse"], F.mse_loss(noisy, x))
    assert float(measured["activation"]) == pytest.approx(float(h.mean()))
    assert float(measured["active"]) == 1
    assert list(measured) == list(one.modes())


def test_a_sum_over_all_values_is_measured_by_example():
    """The loss of Russell & Norvig: sum over j of |x_j - g(f(x_j))|^2."""
    call, x = Two(), torch.rand(8, 6, generator=rng(1))
    one = of(loss={"squared_error": {"reduction": "sum"}}).of_networks(["encoder", "decoder"])
    (loss,) = one.terms("train", call, Batch({"input": x}), rng()).values()
    by_hand = (call("decoder", call("encoder", x)) - x).square().sum()
    torch.testing.assert_close(loss, by_hand)
    torch.testing.assert_close(one.evaluate(call, Batch({"input": x}), rng())["loss"], by_hand / 8)


def test_activations_outside_of_0_to_1_have_no_divergence():
    call = Two()
    call.networks["encoder"] = nn.Linear(6, 2).requires_grad_(False)
    one = of(sparsity={"kl": 1}).of_networks(["encoder", "decoder"])
    with pytest.raises(RunError, match="is of a code from 0 to 1, and this goes from -"):
        one.evaluate(call, Batch({"input": torch.rand(8, 6)}), rng())


# --- whole trainings ------------------------------------------------------------------------------------------------

SPEC = """
dlx: 1
name: a
data: {digits: {valid: 0.1, test: 0}}
network:
  layers: [flatten, {linear: 8, name: hidden}, {linear: 64}, {reshape: [1, 8, 8], name: back}]
  outputs: {code: hidden, reconstruction: back}
objective: {autoencoder: {noise: {masking: 0.5}}}
train: {steps: 3, batch_size: 50, evaluate_every: 1, log_every: 1, device: cpu, optimizer: {sgd: {lr: 0}}}
track: {mlflow: false}
"""


def test_noise_is_drawn_anew_in_training_and_is_the_same_in_each_evaluation(tmp_path):
    """The weights stand still, and so only the noise changes; there is one batch, of all."""
    change = ["train.batch_size=all", "train.steps=3"]
    file = tmp_path / "a.yaml"
    file.write_text(SPEC)
    result = runner.run(load(file, change), tmp_path / "runs").results[0]
    metrics = [record["metrics"] for record in result.run.records() if "metrics" in record]
    evaluated = [one["valid/loss"] for one in metrics if "valid/loss" in one]
    trained = [one["train/train/reconstruction"] for one in metrics if "train/train/reconstruction" in one]
    assert len(evaluated) >= 3
    assert len(set(evaluated)) == 1
    assert len(set(trained)) == len(trained) == 3


TWO = """
data: {digits: {valid: 0.1, test: 0}}
networks:
  encoder: {layers: [flatten, {linear: 8}]}
  decoder: {inputs: {code: [8]}, layers: [{linear: 64}, {reshape: [1, 8, 8]}]}
objective: autoencoder
train: {steps: 3, device: cpu}
track: {mlflow: false}
"""


@pytest.mark.parametrize(
    ("spec", "old", "new", "message"),
    [
        (SPEC, "64}, {reshape: [1, 8, 8], name: back}", "63, name: back}",
         "the output `reconstruction` of `network` is (63,), and autoencoder takes the shape of the field `input`"),
        (TWO, ", {reshape: [1, 8, 8]}", "", "the network `decoder` ends in (64,), and autoencoder takes the"),
        (TWO, "code: [8]", "code: [9]", "autoencoder gives `decoder` (8,) as `code`, the output of `encoder`"),
        (TWO, "decoder:", "generator:", "autoencoder wants `decoder`: the spec has the networks"),
        (TWO, "objective: autoencoder", "objective: {autoencoder: {field: inputs}}",
         "autoencoder reads the field `inputs`, and the data has `input`, `target`"),
        (TWO, "objective: autoencoder", "objective: {autoencoder: {field: target}}",
         "autoencoder is of floats, and the field `target` holds int"),
        (TWO, "objective: autoencoder", "objective: {autoencoder: {loss: cross_entropy}}",
         "the loss cross_entropy is not for values, which an autoencoder gives back"),
        (TWO, "objective: autoencoder", "objective: {autoencoder: {noise: {masking: 2}}}",
         "`masking` must be at most 1"),
        (SPEC, "outputs: {code: hidden, reconstruction: back}", "outputs: {code: hidden, last: back}",
         "takes one output, or the outputs `code` and `reconstruction`, and the network has `code`, `last`"),
        (SPEC.replace("  outputs: {code: hidden, reconstruction: back}\n", ""),
         "noise: {masking: 0.5}", "contractive: 1",
         "autoencoder penalises the code, and takes the outputs `code` and `reconstruction`"),
        (TWO, "[flatten, {linear: 8}]", "[flatten, {linear: 8, name: a}, {linear: 8, name: b}], outputs: [a, b]",
         "autoencoder takes one output of `encoder`, and it has `a`, `b`"),
        (TWO, "{code: [8]}", "{code: [8], more: [2]}", "gives `decoder` one input, and behind it a class as `label`"),
        (TWO, "objective: autoencoder", "objective: {autoencoder: {sparsity: {rho: 0.1}}}",
         "`rho` is what `kl` draws activations to, and there is no `kl`, its weight"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence(spec, old, new, message):
    assert old in spec
    with pytest.raises(SpecError) as raised:
        trace_all(experiment_of(spec.replace(old, new, 1)))
    assert any(message in problem.message for problem in raised.value.problems), str(raised.value)


def test_a_loss_of_values_from_0_to_1_refuses_others_before_training(tmp_path):
    beyond = TWO.replace("objective: autoencoder", "objective: {autoencoder: {loss: binary_cross_entropy}}")
    assert math.isfinite(runner.run(experiment_of(beyond), tmp_path).results[0].metrics["train/loss"])
    beyond = beyond.replace("digits: {", "digits: {preprocess: [standardize], ")
    with pytest.raises(
        SpecError, match="the loss binary_cross_entropy is for targets from 0 to 1, and these go from"
    ):
        runner.run(experiment_of(beyond), tmp_path)


TOLD = """
data: {digits: {valid: 0.1, test: 0}}
networks:
  encoder: {layers: [flatten, {linear: 8}]}
  decoder:
    inputs: {code: [8], label: {shape: [], dtype: int}}
    layers:
      - {embedding: {num_embeddings: 10, embedding_dim: 8}, from: label, name: of_class}
      - {add: , from: [code, of_class]}
      - linear: 64
      - reshape: [1, 8, 8]
objective: autoencoder
train: {steps: 3, device: cpu}
track: {mlflow: false}
"""


def test_a_decoder_may_be_told_the_class(tmp_path):
    found = runner.run(experiment_of(TOLD), tmp_path).results[0]
    assert found.metrics["train/loss"] > 0
    houses = TOLD.replace("digits: {valid: 0.1, test: 0}", "houses: {train: 20, valid: 5, test: 5}")
    with pytest.raises(SpecError, match="is the class of an example, and the data has none as `target`"):
        trace_all(experiment_of(houses.replace("reshape: [1, 8, 8]", "linear: 6")))


# --- principal components -------------------------------------------------------------------------------------------


def angle(a, b):
    """The cosine of the largest angle between the subspaces that two matrices (dim, n) span."""
    a, b = np.linalg.qr(a)[0], np.linalg.qr(b)[0]
    return np.linalg.svd(a.T @ b)[1].min()


LINEAR = """
dlx: 1
name: linear
data: {arrays: {path: x.npz, valid: 0, test: 0}}
network:
  layers: [{linear: {out_features: 2, bias: false}, name: f}, {linear: {out_features: 6, bias: false}, tie: f}]
objective: {autoencoder: {loss: {squared_error: {reduction: batchmean}}}}
train: {steps: 300, batch_size: all, optimizer: {adam: 2e-2}, device: cpu}
track: {mlflow: false}
"""


def test_a_tied_linear_one_spans_the_principal_components_and_an_untrained_one_does_not(tmp_path):
    rows = np.random.default_rng(0).normal(size=(300, 6)) * [3, 2, 1, 0.5, 0.5, 0.2]
    rows = (rows - rows.mean(0)) @ np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    np.savez(tmp_path / "x.npz", x=rows.astype(np.float32), y=np.zeros(300, np.int64))
    (tmp_path / "a.yaml").write_text(LINEAR)
    values, vectors = np.linalg.eigh(rows.T @ rows / 300)

    def trained(*changes):
        found = runner.run(load(tmp_path / "a.yaml", list(changes)), tmp_path / "runs").results[0]
        return found.metrics["train/loss"], load_file(found.run.dir / "checkpoints" / "final.safetensors")["f.weight"]

    loss, weight = trained()
    assert angle(weight.numpy().T, vectors[:, -2:]) > 0.9999
    # what is left is the variance along the other components
    assert loss == pytest.approx(values[:-2].sum(), rel=1e-3)
    # at the minimum the rows of the shared weight are orthonormal
    np.testing.assert_allclose(weight @ weight.T, np.eye(2), atol=1e-2)
    assert angle(trained("train.optimizer={sgd: {lr: 0}}")[1].numpy().T, vectors[:, -2:]) < 0.9
