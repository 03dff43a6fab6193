"""Maps of features in a plane."""

import numpy as np
import pytest
from analysis_planes import noisy_plane, subject
from helpers import experiment_of

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds import embedding_map
from dlx.analysis.kinds.embedding_map import EmbeddingMap
from dlx.analysis.subject import of_spec
from dlx.errors import DlxError, SpecError

DIGITS = "name: d\ndata: {digits: {test: 0.1, seed: 0}}\nnetwork: {layers: [flatten, {linear: 10}]}\n"


def test_principal_components_are_those_of_the_singular_values(tmp_path):
    x = np.random.default_rng(0).standard_normal((40, 5)) * [5, 3, 1, 1, 1]
    centred = x - x.mean(0)
    _, _, directions = np.linalg.svd(centred)

    made = EmbeddingMap(method="pca")._map(x, 0)

    np.testing.assert_allclose(np.abs(made), np.abs(centred @ directions[:2].T), atol=1e-9)


def test_maps_of_digits_hold_their_neighbours_and_shuffled_ones_do_not():
    found = EmbeddingMap(examples=120, seeds=2, perplexity=15).run(of_spec(experiment_of(DIGITS)))
    first, second = (panel.marks[0] for panel in found.panels)

    assert found.figures["trustworthiness"] > 0.95
    assert found.figures["same_class"] > 0.7
    assert not np.allclose(first.x, second.x)  # each seed begins at random points of its own

    points = np.stack([first.x, first.y], 1)
    twin = EmbeddingMap()._judged(points, np.random.default_rng(0).permutation(points), _chosen(first.labels))
    assert twin["trustworthiness"] == pytest.approx(0.5, abs=0.1)
    assert twin["same_class"] < 0.25 < twin["same_class_features"]


def _chosen(labels):
    from types import SimpleNamespace

    return SimpleNamespace(classes=np.array([int(one) for one in labels]))


def test_a_map_by_principal_components_needs_one_draw(tmp_path):
    found = EmbeddingMap(method="pca", layer="linear_1").run(
        subject(tmp_path, noisy_plane(), "{linear: 3}, {linear: 2}")
    )

    assert found.seeds == len(found.panels) == 1
    assert found.figures["trustworthiness"] > 0.9  # three sums of two values lie in a plane


@pytest.mark.slow  # numba compiles it for most of a minute
def test_the_map_of_umap_holds_its_neighbours_and_is_the_same_at_each_call():
    pytest.importorskip("umap")  # `make extras` installs it
    first, second = (
        EmbeddingMap(method="umap", examples=120, seeds=1).run(of_spec(experiment_of(DIGITS))) for _ in range(2)
    )

    assert first.figures == second.figures
    assert first.figures["trustworthiness"] > 0.9
    assert first.figures["same_class"] > 0.7


def test_missing_library_and_too_large_a_perplexity_are_told(monkeypatch):
    digits = of_spec(experiment_of(DIGITS))
    with pytest.raises(SpecError, match="a perplexity of 60 wants more than as many examples, and there are 50"):
        analyze(EmbeddingMap(perplexity=60, examples=50), digits)
    with pytest.raises(DlxError, match="the part `test` has 179 examples, and a perplexity of 200 wants more"):
        analyze(EmbeddingMap(perplexity=200), digits)
    monkeypatch.setattr(embedding_map, "_has_umap", lambda: False)
    with pytest.raises(SpecError, match="`method: umap` needs umap-learn, which is not installed"):
        analyze(EmbeddingMap(method="umap"), digits)
