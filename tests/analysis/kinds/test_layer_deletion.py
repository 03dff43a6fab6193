"""Blocks and layers that are left out of a trained network, or in another order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import experiment_of

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds.layer_deletion import LayerDeletion
from dlx.analysis.result import Result
from dlx.analysis.subject import Subject, of_run, of_runs, of_spec
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.runs.folder import RunFolder

NETWORK = """
name: {name}
data: {{synthetic: {{shape: [8], classes: 3, train: 300, valid: 100, test: 100}}}}
objective: classification
network:
  layers:
    - linear: 16
    - repeat: {{times: 4, layers: [{block}]}}
    - linear: 3
train: {{steps: {steps}, batch_size: 50, optimizer: {{adam: 0.01}}}}
track: {{mlflow: false}}
"""
RESIDUAL = "{residual: {layers: [relu, {linear: 16}]}}"
PLAIN = "{linear: 16}, relu"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")

    def trained(name: str, block: str) -> RunFolder:
        return runner.run(experiment_of(NETWORK.format(name=name, block=block, steps=150)), folder).results[0].run

    return {"residual": trained("residual", RESIDUAL), "plain": trained("plain", PLAIN)}


def found(subject: Subject, **options: Any) -> Result:
    return analyze(LayerDeletion.model_validate({"draws": 1, "shuffles": 6} | options), subject).result


def test_one_output_has_an_error_too_by_its_threshold(tmp_path):
    text = NETWORK.format(name="one", block=RESIDUAL, steps=20).replace("classes: 3", "classes: 2")
    text = text.replace("objective: classification", "objective: {binary_classification: {threshold: 0.7}}")
    result = runner.run(experiment_of(text.replace("- linear: 3", "- linear: 1")), tmp_path).results[0]
    made = found(of_run(result.run))

    assert made.panels[0].y == "error"
    assert made.figures["intact"] == pytest.approx(result.metrics["test/error"])


def test_a_block_less_is_the_network_with_its_branch_at_zero(runs):
    subject = of_run(runs["residual"])
    batch = subject.examples(100)

    result = found(subject)

    for i, (_, part, error) in enumerate(result.table[1][1:]):
        network = subject.network()
        with torch.no_grad():
            for weight in network.get_submodule(f"linear_{i + 2}").parameters():
                weight.zero_()
            wrong = network(*batch.inputs).argmax(1) != batch["target"]
        assert part == f"add_{i + 1}"
        assert error == pytest.approx(float(wrong.float().mean()))


def test_a_residual_network_loses_less_with_a_block_than_a_plain_one_with_a_layer(runs):
    """Veit et al. 2016, figure 3."""
    figures = found(of_runs([runs["residual"], runs["plain"]])).figures

    assert figures["intact"] < 0.1
    assert figures["intact_2"] < 0.1
    assert figures["without_one"] - figures["intact"] < figures["without_one_2"] - figures["intact_2"]
    assert set(figures) == {
        f"{name}{end}"
        for name in ("intact", "without_one", "rise", "worst_without_one", "shuffled")
        for end in ("", "_2")
    }


def test_an_untrained_network_is_no_better_with_all_its_blocks(runs, tmp_path):
    text = NETWORK.format(name="untrained", block=PLAIN, steps=1).replace("adam: 0.01", "sgd: 1e-20")
    untrained = found(of_run(runner.run(experiment_of(text), tmp_path).results[0].run)).figures
    trained = found(of_run(runs["plain"])).figures

    assert trained["without_one"] - trained["intact"] > 0.2
    assert trained["shuffled"] - trained["intact"] > 0.2
    assert untrained["without_one"] - untrained["intact"] < 0.2


def test_specs_and_networks_without_such_a_part_are_refused(tmp_path):
    text = NETWORK.format(name="narrow", block="relu", steps=1)
    with pytest.raises(SpecError) as spec:
        analyze(LayerDeletion(), of_spec(experiment_of(text)))
    run = runner.run(experiment_of(text), tmp_path).results[0].run
    with pytest.raises(SpecError) as narrow:
        found(of_run(run))

    assert spec.value.problems[0].message == "narrow has no part that can be left out"  # no training would help
    assert narrow.value.problems[0].message == f"{run.key} has no part that can be left out"
