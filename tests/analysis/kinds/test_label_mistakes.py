"""Likely label mistakes, against labels that were made wrong on purpose."""

import pytest
from helpers import experiment_of

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds.label_mistakes import LabelMistakes
from dlx.analysis.subject import of_spec
from dlx.errors import DlxError, SpecError

TEXT = """
name: wrong
data: {digits: {test: 0.1, seed: 0, label_noise: 0.1}}
init: zeros
network: {layers: [flatten, {linear: 10}]}
train: {steps: 60, batch_size: 200, optimizer: {sgd: 0.05}}
track: {mlflow: false}
"""


@pytest.fixture(scope="module")
def trained():
    return of_spec(experiment_of(TEXT)).train()


def test_flipped_labels_are_found_and_their_class_is_suggested(trained):
    found = LabelMistakes().run(trained)

    assert found.figures["noise"] == pytest.approx(0.1, abs=0.001)  # a tenth of the labels was made wrong
    assert found.figures["precision"] > 0.7
    assert found.figures["recall"] > 0.65
    assert found.figures["corrected"] > 0.85
    assert len(found.panels[1].marks[0].pictures) == 24


def test_an_untrained_network_finds_them_no_better_than_by_chance():
    text = TEXT.replace("zeros", "he_normal").replace("sgd: 0.05", "sgd: 1e-30").replace("steps: 60", "steps: 1")
    found = LabelMistakes().run(of_spec(experiment_of(text)).train())

    assert found.figures["precision"] < 0.2


def test_a_part_whose_labels_are_clean_has_no_precision(trained):
    found = LabelMistakes(part="test").run(trained)

    assert "precision" not in found.figures
    assert found.figures["share"] < 0.15


def test_a_spec_a_part_that_is_not_there_and_a_loss_without_probabilities_are_told(trained):
    with pytest.raises(SpecError, match="`label_mistakes` looks at trained weights, and wrong is a spec"):
        analyze(LabelMistakes(), of_spec(experiment_of(TEXT)))
    with pytest.raises(DlxError, match="has no part `extra`"):
        analyze(LabelMistakes(part="extra"), trained)
    hinge = TEXT + "objective: {classification: {loss: hinge}}\n"
    run = of_spec(experiment_of(hinge.replace("steps: 60", "steps: 1"))).train()
    with pytest.raises(DlxError, match="outputs of the loss `hinge` are no probabilities of classes"):
        analyze(LabelMistakes(), run)
