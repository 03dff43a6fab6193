"""What a training with phases says in its last lines, and the metric that it follows where the spec names none."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import experiment_of

from dlx.errors import RunError
from dlx.experiment import runner
from dlx.graph import trace_all
from dlx.objectives.gan import GAN
from dlx.sweeps import plan
from dlx.training.prepared import ready

TEXT = """
    dlx: 1
    data: {moons: {train: 60, valid: 20, test: 20}}
    networks:
      generator: {inputs: {noise: [2]}, layers: [{linear: 4}, tanh, {linear: 2}]}
      discriminator: {inputs: {point: [2]}, layers: [{linear: 4}, tanh, {linear: 1}]}
    objective: {gan: {}}
    train: {steps: 4, batch_size: 10, optimizer: {sgd: 1e-9}}
    track: {mlflow: false}
"""


def notes(text: str, folder: Any) -> list[str]:
    (result,) = runner.run(experiment_of(text), folder).results
    return [note for note in result.notes if "averaged" not in note]


# --- the last lines -------------------------------------------------------------------------------------------------

CONSTANT = TEXT.replace("{linear: 2}]", "{linear: 2, values: {weight: 0, bias: 9}}]")


def test_a_generator_whose_samples_are_all_the_same_has_collapsed(tmp_path):
    assert notes(CONSTANT, tmp_path) == [
        "test: the generator has collapsed: its samples come near 0.0% of the examples"
    ]


def test_a_generator_of_samples_like_the_examples_has_not(tmp_path, monkeypatch):
    monkeypatch.setattr(GAN, "generate", lambda _, call, latents, condition=None: like_the_examples(latents))
    assert notes(TEXT, tmp_path / "same") == []
    monkeypatch.setattr(GAN, "generate", lambda _, call, latents, condition=None: latents * 0 + 9)
    assert notes(TEXT, tmp_path / "other") != []


def like_the_examples(latents: Any) -> Any:
    import torch

    from dlx.data.generated.toys import Moons

    x = torch.as_tensor(Moons(train=500).load().train.x)
    return x[: len(latents)].requires_grad_()


def test_a_metric_that_is_not_finite_is_said(tmp_path, monkeypatch):
    evaluate = GAN.evaluate

    def broken(*args):
        return {**evaluate(*args), "sliced_wasserstein": args[2]["input"].sum() * float("inf")}

    monkeypatch.setattr(GAN, "evaluate", broken)
    (first, *_) = notes(CONSTANT, tmp_path)
    assert first.startswith("the training has diverged: train/sliced_wasserstein is ")


def test_a_term_that_is_not_finite_ends_the_run_with_its_name_and_step(tmp_path):
    with pytest.raises(RunError) as ended:
        runner.run(
            experiment_of(TEXT.replace("1e-9", "1e38").replace("{gan: {}}", "{gan: {loss: wasserstein}}")), tmp_path
        )
    message = ended.value.problems[0].message
    assert message.startswith("the loss train/")
    assert " at step " in message


# --- the metric that is followed ------------------------------------------------------------------------------------


def trained(said: str) -> Any:
    experiment = experiment_of(TEXT.replace("steps: 4", f"steps: 4, {said}"))
    assert ready(experiment)
    return experiment.train


def test_early_stopping_best_checkpoints_and_plateau_follow_the_main_metric():
    early = trained("early_stopping: {patience: 3}").early_stopping
    assert early.metric == "valid/sliced_wasserstein"
    assert trained("keep_best: 2").keep_best.metric == "valid/sliced_wasserstein"
    assert trained("schedule: plateau").schedule.metric == "valid/sliced_wasserstein"
    named = trained("schedule: {generator: plateau, discriminator: {plateau: {metric: valid/coverage}}}")
    assert [named.of(name).schedule.metric for name in ("generator", "discriminator")] == [
        "valid/sliced_wasserstein",
        "valid/coverage",
    ]


def test_what_names_a_metric_keeps_it():
    assert trained("early_stopping: {patience: 3, metric: valid/coverage}").early_stopping.metric == "valid/coverage"
    both = trained("early_stopping: {patience: 3, metric: valid/coverage}, keep_best: 1")
    assert both.keep_best.metric is None  # it follows what early stopping does


def test_the_main_metric_of_classes_is_the_loss_as_before():
    text = """
        data: {moons: {train: 60, valid: 20}}
        network: {layers: [{linear: 2}]}
        train: {steps: 4, early_stopping: {patience: 3}}
    """
    train = experiment_of(text).train
    assert train is not None
    assert train.early_stopping is not None
    assert train.early_stopping.metric == "valid/loss"


def test_a_sweep_without_a_metric_searches_for_the_main_one(tmp_path):
    (tmp_path / "s.yaml").write_text("\n".join(line[4:] for line in TEXT.splitlines()))
    found = plan.plan(tmp_path / "s.yaml", ["train.batch_size=10,20"], tmp_path / "runs")
    assert found.metrics == ("valid/sliced_wasserstein",)


def test_a_sweep_of_a_vae_searches_for_the_bound_and_not_for_the_loss_whose_unit_it_varies(tmp_path):
    (tmp_path / "s.yaml").write_text("""
data: {digits: {train: 60, valid: 20, test: 0}}
networks:
  encoder: {layers: [flatten, {linear: 8}]}
  decoder: {inputs: {z: [4]}, layers: [{linear: 64}, {reshape: [1, 8, 8]}]}
objective: vae
train: {steps: 4}
""")
    found = plan.plan(tmp_path / "s.yaml", ["objective.vae.beta=1,4"], tmp_path / "runs")
    assert found.metrics == ("valid/elbo",)


# --- latent variables -----------------------------------------------------------------------------------------------

LATENT = """
    dlx: 1
    data: {digits: {train: 60, valid: 20, test: 100}}
    networks:
      encoder: {layers: [flatten, {linear: 4, values: {weight: 0.1}}]}
      decoder: {inputs: {z: [2]}, layers: [{linear: 64}, {reshape: [1, 8, 8]}]}
    objective: vae
    train: {steps: 1, batch_size: 10, optimizer: {sgd: 1e-9}}
    track: {mlflow: false}
"""
COMPONENTS = """
    dlx: 1
    data: {digits: {train: 60, valid: 20, test: 100}}
    networks:
      decoder: {inputs: {z: [2]}, layers: [{linear: {out_features: 64, bias: false}}, {reshape: [1, 8, 8]}]}
    objective: {ppca: {variance: 0.05}}
    train: {steps: 1, batch_size: 10, optimizer: {sgd: 1e-9}}
    track: {mlflow: false}
"""


def test_a_posterior_that_tells_no_examples_apart_has_collapsed(tmp_path):
    (said,) = notes(LATENT.replace("0.1", "0"), tmp_path / "collapsed")
    assert said.startswith("test: the posterior has collapsed: of 2 latent variables none tells examples apart (KL ")
    assert notes(LATENT, tmp_path / "not") == []


def test_a_model_without_a_mean_of_data_that_is_not_centred_lies_beside_it(tmp_path):
    (said,) = notes(COMPONENTS, tmp_path / "beside")
    assert said.startswith("test: the mean of the model lies beside that of the data: their squared distance is ")
    assert said.endswith("centre the data (`preprocess: [center]`), or let `decoder` have a bias")
    assert notes(COMPONENTS.replace("test: 100", "test: 100, preprocess: [center]"), tmp_path / "centred") == []


def test_early_stopping_of_a_vae_follows_the_bound_and_not_the_loss_whose_unit_beta_changes():
    text = LATENT.replace("steps: 1", "steps: 1, early_stopping: {patience: 3}, keep_best: 1")
    train = experiment_of(text).train
    assert train is not None
    assert train.early_stopping is not None
    assert train.early_stopping.metric == "valid/elbo"


# --- before it starts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "layers", "warned"),
    [
        ("{loss: wasserstein}", "linear: 4", True),
        ("{loss: wasserstein, clip: 0.01}", "linear: 4", False),
        ("{loss: wasserstein, gradient_penalty: 10}", "linear: 4", False),
        ("{loss: wasserstein}", "spectral_norm: {layer: {linear: 4}}", False),
        ("{loss: hinge}", "linear: 4", False),
    ],
)
def test_a_wasserstein_loss_without_a_bound_of_the_slope_is_warned_of(loss, layers, warned):
    text = TEXT.replace("{gan: {}}", f"{{gan: {loss}}}")
    text = text.replace("{point: [2]}, layers: [{linear: 4}", f"{{point: [2]}}, layers: [{{{layers}}}")
    found = [one.message for one in trace_all(experiment_of(text)).warnings]
    assert any("slope of `discriminator`" in one for one in found) == warned
