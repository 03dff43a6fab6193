"""Heads in training and after it: learned factors that are frozen, updates in pieces, names, tables and notes."""

import json

import numpy as np
import pytest
import torch

from dlx.cli import app
from dlx.errors import SpecError
from dlx.experiment import confusion_matrix, runner
from dlx.experiment.session import job_of
from dlx.graph import trace
from dlx.objectives.heads import Heads
from dlx.objectives.learned import parameters_of
from dlx.spec import load
from dlx.trained.predict import predict
from dlx.training.fit import fit
from dlx.training.prepared import prepare
from dlx.training.supervised import gradients_of

SPEC = """\
dlx: 1
name: s
data: {houses: {train: 120, valid: 40, test: 60, standardize: feature}}
network:
  layers:
    - {linear: 8, name: trunk}
    - relu
    - {linear: 1, name: price}
    - {linear: 2, name: sold, from: relu_1}
  outputs: [price, sold]
objective: {heads: {of: {price: {regression: {scale: standardize}}, sold: classification}, weighting: uncertainty}}
train: {epochs: 3, batch_size: 20, optimizer: {adam: 0.02}, device: cpu}
track: {mlflow: false}
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    return tmp_path / "s.yaml"


def factors(job) -> dict[str, float]:
    return {name: one.item() for name, one in parameters_of(job.network).items()}


def trained_factors(path, *changes: str) -> dict[str, float]:
    job = job_of(prepare(load(path, changes)))
    list(fit(job))
    return factors(job)


# --- learned factors -----------------------------------------------------------------------------------------------


def test_a_learned_factor_is_frozen_by_its_name_and_counted_as_such(path):
    free = trained_factors(path)
    assert all(abs(value) > 0.05 for value in free.values())
    one = trained_factors(path, "+freeze=[objective/price]")
    assert one["price"] == 0
    assert abs(one["sold"]) > 0.05
    assert trained_factors(path, "+freeze=[objective]") == {"price": 0, "sold": 0}
    whole, graph = trace(load(path)), trace(load(path, ["+freeze=[objective/price]"]))
    assert (graph.params, graph.trainable) == (whole.params, whole.trainable - 1)


def test_a_frozen_factor_moves_after_its_freeze(path):
    changes = "+freeze=[{match: objective/sold, until: {step: 12}}]", "+freeze=[objective/sold]"
    until, never = (job_of(prepare(load(path, [change]))) for change in changes)
    from dlx.training.fit import updates

    seen = [factors(until)["sold"] for _ in updates(until, [])]
    assert seen[11] == 0
    assert seen[12] != 0
    for _ in updates(never, []):
        assert factors(never)["sold"] == 0


def test_learned_factors_are_weights_of_a_parameter_group(path):
    found = trained_factors(path, "+train.groups=[{match: objective/sold, lr: 0}]")
    assert found["sold"] == 0
    assert abs(found["price"]) > 0.05


@pytest.mark.parametrize("key", ["+freeze=[objective/prize]", "+train.groups=[{match: objective/prize, lr: 0}]"])
def test_a_factor_that_there_is_not_is_said(path, key):
    with pytest.raises(SpecError) as refused:
        prepare(load(path, [key]))
    assert "objective/prize" in str(refused.value)


def test_seeds_side_by_side_have_the_frozen_factors_too(path, tmp_path):
    changes = ["+freeze=[{match: objective/sold, until: {epoch: 2}}, objective/price]", "+train.seeds=2"]
    for result in runner.run(load(path, changes), tmp_path / "runs").results:
        from safetensors.torch import load_file

        kept = load_file(result.run.dir / "checkpoints" / "final.safetensors")
        assert result.run.lock()["packed"]
        assert kept["objective.price"] == 0
        assert kept["objective.sold"] != 0


# --- updates in pieces ---------------------------------------------------------------------------------------------


PRICE = "{regression: {scale: standardize}}"
SUM = "{regression: {loss: {squared_error: {reduction: sum}}, scale: standardize}}"
SOLD = "{classification: {loss: {cross_entropy: {weight: [1, 9]}}}}"
OBJECTIVES = {
    "class weights": f"{{price: {PRICE}, sold: {SOLD}}}",
    "a sum": f"{{price: {SUM}, sold: classification}}",
    "learned factors": f"{{heads: {{of: {{price: {PRICE}, sold: {SOLD}}}, weighting: uncertainty}}}}",
}


def gradients(path, objective: str, *changes: str) -> torch.Tensor:
    """The gradients of the first update of 20 examples."""
    job = job_of(prepare(load(path, [f"objective={objective}", *changes])))
    index = torch.arange(20)
    loss = gradients_of(job.supervised)(index)
    return torch.cat([loss[None], *(p.grad.flatten() for p in job.network.parameters())])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_update_in_pieces_is_that_of_all_examples_for_each_head(path, name, monkeypatch):
    pieces = "train.batch_size=5", "+train.accumulate=4"
    whole, ours = gradients(path, OBJECTIVES[name]), gradients(path, OBJECTIVES[name], *pieces)
    assert torch.allclose(ours, whole, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(Heads, "shares", lambda _, piece, whole: ({}, len(piece) / len(whole)))
    assert not torch.allclose(gradients(path, OBJECTIVES[name], *pieces), whole, rtol=1e-2, atol=1e-3)


def test_flooding_is_of_a_whole_update(path):
    objective = "objective={heads: {of: {price: regression, sold: classification}, flooding: 0.1}}"
    with pytest.raises(SpecError, match="`flooding` bends the loss of a whole update"):
        prepare(load(path, [objective, "train.batch_size=5", "+train.accumulate=4"]))
    prepare(load(path, [objective]))


# --- names, tables, notes ------------------------------------------------------------------------------------------


@pytest.fixture
def flats(tmp_path):
    """Flats with two targets of classes: the second of them is told by the area."""
    rng = np.random.default_rng(0)
    area = rng.normal(size=200)
    rows = [f"{a:.3f},{rng.choice(['Bern', 'Chur'])},{'big' if a > 0 else 'small'}" for a in area]
    (tmp_path / "t.csv").write_text("\n".join(["area,town,size", *rows]) + "\n")
    (tmp_path / "f.yaml").write_text("""\
dlx: 1
name: f
data: {table: {path: t.csv, inputs: {x: {columns: [area]}}, targets: {town: classes, size: classes}, test: 60}}
network: {layers: [{linear: 2, name: town}, {linear: 2, name: size, from: x}], outputs: [town, size]}
objective:
  town: {classification: {metrics: [confusion_matrix]}}
  size: {classification: {metrics: [confusion_matrix]}}
train: {epochs: 10, optimizer: {adam: 0.05}}
track: {mlflow: false}
""")
    return tmp_path / "f.yaml"


def test_each_head_has_its_own_classes_table_and_guess(flats, tmp_path, capsys):
    (result,) = runner.run(load(flats), tmp_path / "runs").results
    run = result.run
    document = json.loads((run.dir / "confusion.json").read_text())
    assert {name: one["classes"] for name, one in document["heads"].items()} == {
        "town": ["Bern", "Chur"],
        "size": ["big", "small"],
    }
    for one in confusion_matrix.read(run):
        rows = np.array(one.parts["test"])
        assert rows.sum() == 60
        assert rows.trace() / 60 == pytest.approx(result.metrics[f"test/{one.head}/accuracy"])
    guesses = [note for note in result.notes if note.startswith("no better than guessing")]
    assert [note.split()[4] for note in guesses] == ["test/town/accuracy"]  # and `size` is learned
    answers = predict(run, tmp_path / "t.csv").as_json()["predictions"][0]["heads"]
    assert {
        name: one["class"] in names
        for (name, one), names in zip(answers.items(), (("Bern", "Chur"), ("big", "small")), strict=True)
    } == {"town": True, "size": True}
    (again,) = runner.run(load(flats, ["+train.seed=1"]), tmp_path / "runs").results
    capsys.readouterr()
    assert app(["compare", str(run.dir), str(again.run.dir), "--json"], standalone_mode=False) in (None, 0, 1)
    assert "town/loss" in capsys.readouterr().out


def test_ensembles_and_views_are_of_one_objective(path):
    for change, sentence in (
        ("+train.ensemble=2", "the outputs of heads have no mean"),
        ("+train.test_time=horizontal_flip", "the outputs of heads have no mean"),
    ):
        with pytest.raises(SpecError, match=sentence):
            prepare(load(path, [change]))
