"""Hidden states of a recurrent network along a text."""

import numpy as np
import pytest
from helpers import experiment_of

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds.hidden_states import HiddenStates
from dlx.analysis.subject import of_spec
from dlx.errors import SpecError

TEXT = """
name: quoted
data: {{text: {{path: {path}, tokens: characters, window: 16, carry: true}}}}
network: {{layers: [{{embedding: {{embedding_dim: 6}}}}, {{rnn: 5}}, {{linear: "${{data.vocabulary}}"}}]}}
objective: language
train: {{steps: 1, batch_size: 4, optimizer: {{sgd: 1e-3}}}}
track: {{mlflow: false}}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "t.txt"
    path.write_text('he said "yes no yes" and (went) home.\nshe "did not" go\n' * 30)
    return of_spec(experiment_of(TEXT.format(path=path))).train()


def test_each_feature_has_its_closest_unit_and_shuffled_tokens_follow_it_less(trained):
    from dlx.trained.activations import activations
    from dlx.trained.text_features import features

    found = HiddenStates(tokens=800).run(trained)
    made = activations(trained.runs[0], n=800)
    quotes = features(made.pieces)["quotes"]
    by_hand = max(abs(np.corrcoef(unit, quotes)[0, 1]) for unit in made.values.T)

    assert found.figures["correlation_quotes"] == pytest.approx(by_hand)
    assert found.figures["correlation_space"] > 0.5  # a state depends on its letter even before training
    assert all(value < 0.25 for name, value in found.figures.items() if name.startswith("shuffled_"))
    heat, lines, _ = (panel.marks for panel in found.panels)
    assert heat[0].values.shape == (5, 80)
    for line in lines:  # one unit may be the closest to several features
        words = ", ".join(one.feature for one in made.units if f"unit {one.number} " in line.label)
        assert line.label == f"unit {line.label.split()[1]} ({words})"
    np.testing.assert_allclose(lines[0].y, made.values[:80, int(lines[0].label.split()[1])])


def test_units_that_are_named_are_shown(trained):
    found = HiddenStates(units=[1, 4], tokens=200).run(trained)

    assert [line.label for line in found.panels[1].marks] == ["unit 1", "unit 4"]
    assert [row[0] for row in found.table[1]] == [1, 4]


def test_networks_without_recurrence_and_data_without_text_are_told(trained):
    text = "name: p\ndata: digits\nnetwork: {layers: [flatten, {linear: 10}]}\ntrain: {steps: 1}\n"
    plain = of_spec(experiment_of(text + "track: {mlflow: false}\n")).train()
    with pytest.raises(SpecError, match=r"`hidden_states` are of a recurrent layer, and p/.* has none"):
        analyze(HiddenStates(), plain)
    with pytest.raises(SpecError, match="`layer` names `rnn_2`"):
        analyze(HiddenStates(layer="rnn_2"), trained)
