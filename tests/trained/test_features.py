"""`dlx predict --of NODE`, and scores of odd inputs: against the modules by hand."""

import numpy as np
import pytest
import torch
from helpers import experiment_of
from scipy.stats import norm
from torch.nn import functional as F

import dlx
from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.losses.base import LOSSES
from dlx.spec import load
from dlx.training.checkpoints.checkpoint import restore, restore_all

TRAIN = "train: {steps: 60, batch_size: 50, device: cpu, optimizer: {adam: 1e-2}}\ntrack: {mlflow: false}\n"
DATA = "dlx: 1\ndata: {arrays: {path: x.npz, valid: 0, test: 0}}\n"
AUTOENCODER = f"""{DATA}
networks:
  encoder: {{layers: [{{linear: 8}}, tanh, {{linear: 2}}]}}
  decoder: {{inputs: {{code: [2]}}, layers: [linear: 6]}}
objective: autoencoder
{TRAIN}"""
CLASSES = f"""{DATA}
network: {{layers: [{{linear: 8, name: first}}, relu, {{linear: 2}}]}}
objective: classification
{TRAIN}"""


def rows(n=200, seed=0):
    """Rows in a plane of six dimensions."""
    rng = np.random.default_rng(seed)
    plane = np.linalg.qr(np.random.default_rng(9).normal(size=(6, 2)))[0]
    return (rng.normal(size=(n, 2)) @ plane.T).astype(np.float32)


def trained(folder, text):
    np.savez(folder / "x.npz", x=rows(), y=(rows()[:, 0] > 0).astype(np.int64))
    (folder / "a.yaml").write_text(text)
    return runner.run(load(folder / "a.yaml"), folder / "runs").results[0].run


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("autoencoder"), AUTOENCODER)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("classes"), CLASSES)


def test_a_node_of_a_classifier_gives_what_its_module_gives(classes):
    x = rows(300, 5)  # more than are taken at once
    found = dlx.predict(classes.dir, x, of="relu_1")
    network, _ = restore(classes.dir)
    with torch.inference_mode():
        by_hand = network.first(torch.from_numpy(x)).relu()
    np.testing.assert_allclose(found.arrays["relu_1"], by_hand)
    assert found.rows()[0] == ["input", *(f"relu_1_{i}" for i in range(8))]
    assert len(found) == 300
    assert (found.arrays["relu_1"] != 0).any()


def test_the_score_of_an_autoencoder_is_its_error_and_odd_inputs_have_larger_ones(autoencoder):
    x = rows(50, 5)
    odd = np.random.default_rng(6).normal(size=(50, 6)).astype(np.float32)
    found = dlx.predict(autoencoder.dir, np.concatenate([x, odd]))
    networks = restore_all(autoencoder.dir)
    with torch.inference_mode():
        code = networks["encoder"][0](torch.from_numpy(x))
        error = F.mse_loss(networks["decoder"][0](code), torch.from_numpy(x), reduction="none").mean(1)
    score = found.arrays["score"]
    np.testing.assert_allclose(score[:50], error, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.arrays["code"][:50], code, rtol=1e-5, atol=1e-6)
    # the share of pairs of an ordinary and an odd input of which the odd one has the larger score
    assert (score[None, 50:] > score[:50, None]).mean() > 0.9
    titles, each = found.rows()
    assert titles == ["input", "score", "code_0", "code_1"]
    assert each[3][1:] == pytest.approx([score[3], *found.arrays["code"][3]])
    assert found.as_json()["predictions"][0].keys() == {"input", "score", "code", "reconstruction"}


def test_the_data_of_the_training_need_not_be_there(tmp_path):
    run, x = trained(tmp_path, AUTOENCODER), rows(5)
    before = dlx.predict(run.dir, x).arrays["score"]
    (tmp_path / "x.npz").unlink()
    np.testing.assert_array_equal(dlx.predict(run.dir, x).arrays["score"], before)


def test_a_node_of_one_of_several_networks(autoencoder):
    x = rows(5, 5)
    hidden = dlx.predict(autoencoder.dir, x, of="encoder/tanh_1").arrays["tanh_1"]
    with torch.inference_mode():
        network = restore_all(autoencoder.dir)["encoder"][0]
        np.testing.assert_allclose(hidden, network.linear_1(torch.from_numpy(x)).tanh(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("of", "message"),
    [
        ("encoder/tanh_2", "there is no node `tanh_2` in the network"),
        ("tanh_1", "`--of tanh_1` names no network of the run, which has `encoder`, `decoder`"),
        ("decoder/linear_1", "`decoder` takes `code`, which new inputs do not have"),
    ],
)
def test_a_node_that_is_not_there_is_told(autoencoder, of, message):
    with pytest.raises(DlxError) as raised:
        dlx.predict(autoencoder.dir, rows(5), of=of)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("of", "hint"),
    [
        ("tanh_1", "Write `encoder/tanh_1`."),
        ("encodr/tanh_1", "Did you mean `encoder/tanh_1`"),
        ("tanh_2", "There are decoder/linear_1"),
    ],
)
def test_a_node_without_its_network_and_a_misspelt_one_have_a_way_out(autoencoder, of, hint):
    with pytest.raises(DlxError) as raised:
        dlx.predict(autoencoder.dir, rows(5), of=of)
    assert hint in raised.value.problems[0].hint


GAN = f"""{DATA}
networks:
  generator: {{inputs: {{noise: [2]}}, layers: [linear: 6]}}
  discriminator: {{inputs: {{row: [6]}}, layers: [{{linear: 3}}, tanh, {{linear: 1}}]}}
objective: gan
{TRAIN}"""


def test_a_discriminator_answers_by_its_nodes_and_a_gan_answers_nothing_else(tmp_path):
    run, x = trained(tmp_path, GAN), rows(7, 5)
    network = restore_all(run.dir)["discriminator"][0]
    with torch.inference_mode():
        by_hand = network(torch.from_numpy(x))
    np.testing.assert_allclose(dlx.predict(run.dir, x, of="discriminator/linear_2").arrays["linear_2"], by_hand, 1e-5)
    with pytest.raises(DlxError, match="gan answers nothing of new inputs") as raised:
        dlx.predict(run.dir, x)
    assert "makes samples. `--of NETWORK/NODE` answers" in raised.value.problems[0].hint


VAE = f"""{DATA}
networks:
  encoder: {{layers: [linear: 4]}}
  decoder: {{inputs: {{z: [2]}}, layers: [linear: 6]}}
objective: vae
{TRAIN}"""


def test_values_that_the_likelihood_is_not_of_are_refused_where_a_score_would_mean_nothing(tmp_path):
    np.savez(tmp_path / "x.npz", x=rows().clip(0, 1), y=np.zeros(200, np.int64))
    (tmp_path / "a.yaml").write_text(VAE)
    run = runner.run(load(tmp_path / "a.yaml"), tmp_path / "runs").results[0].run
    assert len(dlx.predict(run.dir, rows(5).clip(0, 1))) == 5
    with pytest.raises(DlxError, match="from 0 to 1, and the field `input` goes from 0 to 7"):
        dlx.predict(run.dir, np.eye(6, dtype=np.float32) * 7)


def test_no_threshold_and_no_class_where_there_are_none(autoencoder, tmp_path):
    with pytest.raises(DlxError, match="`--threshold` is for classes, and autoencoder tells none"):
        dlx.predict(autoencoder.dir, rows(5), threshold=0.3)
    layers = "{embedding: {num_embeddings: 2, embedding_dim: 2}, from: label, name: e}, {add: , from: [code, e]}"
    told = AUTOENCODER.replace("{code: [2]}", "{code: [2], label: {shape: [], dtype: int}}")
    told = told.replace("layers: [linear: 6]", f"layers: [{layers}, {{linear: 6}}]")
    run = trained(tmp_path, told)
    with pytest.raises(DlxError, match="`decoder` takes the field `target` as `label`, which new inputs do not have"):
        dlx.predict(run.dir, rows(5))
    assert dlx.predict(run.dir, rows(5), of="encoder/tanh_1").arrays["tanh_1"].shape == (5, 8)


def test_a_vae_scores_by_its_bound_and_by_log_likelihood(tmp_path):
    spec = AUTOENCODER.replace("{linear: 2}", "{linear: 4}").replace(
        "objective: autoencoder", "objective: {vae: {likelihood: gaussian, variance: 0.1, samples: 200}}"
    )
    run = trained(tmp_path, spec)
    x = rows(6, 5)
    found = dlx.predict(run.dir, x).arrays
    networks = restore_all(run.dir)
    with torch.inference_mode():
        mean, _ = networks["encoder"][0](torch.from_numpy(x)).chunk(2, 1)
    np.testing.assert_allclose(found["code"], mean, rtol=1e-5, atol=1e-6)
    # log P(x) of the Gaussian that a linear decoder makes; the bound is below it
    decoder = networks["decoder"][0].linear_1
    w, b = decoder.weight.detach().double().numpy(), decoder.bias.detach().double().numpy()
    covariance = w @ w.T + 0.1 * np.eye(6)
    centred = x - b
    square = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
    exact = -(6 * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1] + square) / 2
    assert (found["score"] > -exact - 0.2).all()
    # the same for the same inputs, whatever stands beside them in the file
    np.testing.assert_array_equal(dlx.predict(run.dir, x).arrays["score"], found["score"])


def test_draws_of_a_mixture_have_its_mean_variance_and_weights():
    """Weights 0.3 and 0.7, means 0 and 1, variances 1 and 1/4."""
    output = torch.tensor([[np.log(0.3), np.log(0.7), 0, 1, 0, np.log(0.25)]]).float()
    made = LOSSES["mixture_density"](components=2).sample(output, 100_000, torch.Generator().manual_seed(0))
    assert made.shape == (1, 100_000, 1)
    assert float(made.mean()) == pytest.approx(0.7, abs=0.01)
    second = 0.3 * 1 + 0.7 * (0.25 + 1)
    assert float(made.var()) == pytest.approx(second - 0.49, abs=0.02)
    below = 0.3 * norm.cdf(-0.5) + 0.7 * norm.cdf(-0.5, 1, 0.5)
    assert float((made < -0.5).float().mean()) == pytest.approx(below, abs=0.005)
    of_two = torch.tensor([[0, 0, 1, 2, 3, 4, -20, -20, -20, -20]]).float()
    diagonal = LOSSES["mixture_density"](components=2, diagonal=True)
    made = diagonal.sample(of_two, 64, torch.Generator().manual_seed(0)).round()[0].tolist()
    assert {tuple(one) for one in made} == {(1, 2), (3, 4)}


def test_draws_of_a_predicted_gaussian():
    output = torch.tensor([[3.0, np.log(4.0)]])
    made = LOSSES["gaussian_nll"]().sample(output, 50_000, torch.Generator().manual_seed(0))
    assert float(made.mean()) == pytest.approx(3, abs=0.05)
    assert float(made.std()) == pytest.approx(2, abs=0.05)


def test_draws_of_a_run_are_in_the_unit_of_its_targets(tmp_path):
    spec = """
data: {houses: {train: 100, valid: 20, test: 20}}
network: {layers: [{linear: 2, name: price}]}
objective: {regression: {field: price, loss: gaussian_nll, scale: standardize}}
train: {steps: 30, device: cpu, optimizer: {adam: 1e-2}}
track: {mlflow: false}
"""
    run = runner.run(experiment_of(spec), tmp_path).results[0].run
    x = np.random.default_rng(0).uniform(1, 5, (3, 6)).astype(np.float32)
    found = dlx.predict(run.dir, x, samples=2000)
    assert found.arrays["draws"].shape == (3, 2000, 1)
    values, made = found.arrays["values"], found.arrays["draws"]
    np.testing.assert_allclose(made.mean(1), values, atol=4 * made.std() / 2000**0.5)
    assert found.rows()[0] == ["input", "values_0"]
    np.testing.assert_array_equal(dlx.predict(run.dir, x, samples=2000).arrays["draws"], made)
    assert (dlx.predict(run.dir, x, samples=2000, seed=1).arrays["draws"] != made).any()
    assert made.std() > 1000
