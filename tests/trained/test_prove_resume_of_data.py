"""Specs as users run them, killed and resumed: tables, experts, cropped maps, heads, labels, draws by weight."""

import numpy as np
import pytest
from helpers import SHIPPED

from dlx.spec import load
from dlx.trained import prove_resume

pytestmark = pytest.mark.slow

FLATS = """\
dlx: 1
name: flats
data:
  table:
    path: flats.csv
    target: price
    split: {group: owner}
    valid: 0.2
    test: 0.2
    dates: {sold: [year, month, weekday]}
    target_encoding: {city: {cv: 2}}
    text: {advert: {max_features: 8}}
    standardize: feature
network: {layers: [{linear: 16}, relu, {dropout: 0.1}, {linear: 1}]}
objective: {regression: {scale: standardize}}
train: {epochs: 20, batch_size: 16, seeds: 2, optimizer: {adamw: 0.01}, schedule: {cosine: {}}}
"""
RARE = """\
dlx: 1
name: rare
data:
  table:
    path: flats.csv
    target: kind
    split: {group: owner}
    test: 0.2
    weights: trust
    drop: [sold, advert]
    label_noise: {rate: 0.1, flip: pair}
network: {layers: [{linear: 16}, batch_norm, relu, {linear: 3}]}
train: {epochs: 20, batch_size: 16, seeds: 2, SAMPLING}
"""
HEADS = """\
dlx: 1
name: heads
data: {houses: {train: 200, valid: 60, test: 100, standardize: feature}}
network:
  layers: [{linear: 16}, relu, {linear: 1, name: price}, {linear: 2, name: sold, from: relu_1}]
  outputs: [price, sold]
objective:
  heads:
    of: {price: {regression: {scale: standardize}}, sold: {classification: {metrics: [confusion_matrix]}}}
    weighting: uncertainty
freeze: [{match: objective/price, until: {step: 20}}]
train: {epochs: 20, batch_size: 20, seeds: 2, accumulate: 2, optimizer: {adam: 0.02}}
"""


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    adverts = ("sunny quiet flat", "old flat near the lake", "new sunny house", "quiet house with garden")
    kinds = rng.choice(["a", "b", "c"], size=160, p=[0.8, 0.15, 0.05])
    lines = [
        f"o{i % 30},{rng.integers(40, 200)},{rng.choice(['Bern', 'Chur', 'Basel'])},20{10 + i % 12}-0{1 + i % 9}-15,"
        f"{rng.choice(adverts)},{kinds[i]},{i % 3 + 1},{rng.integers(200, 900)}"
        for i in range(160)
    ]
    (tmp_path / "flats.csv").write_text("\n".join(["owner,area,city,sold,advert,kind,trust,price", *lines]) + "\n")
    return tmp_path


def proved(path, changes, tmp_path, trainings=2, steps=60, kills=3):
    found = prove_resume.prove(path, changes, tmp_path / "proof", kills=kills, steps=steps)
    assert found.equal, found.as_json()
    assert (found.trainings, len(found.killed)) == (trainings, kills)
    assert found.values > 50
    return found


def test_a_table_with_dates_means_texts_and_groups(folder):
    (folder / "s.yaml").write_text(FLATS)
    proved(folder / "s.yaml", [], folder)
    kinds = {one.because for one in load(folder / "s.yaml").data.facts().columns}
    assert len(kinds) > 3


@pytest.mark.parametrize("sampling", ["balanced", "weights"])
def test_draws_by_class_and_weight_of_noisy_labels(folder, sampling):
    (folder / "s.yaml").write_text(RARE.replace("SAMPLING", f"sampling: {sampling}"))
    proved(folder / "s.yaml", [], folder)


def test_heads_with_learned_factors_in_pieces(folder):
    (folder / "s.yaml").write_text(HEADS)
    proved(folder / "s.yaml", [], folder)


def test_heads_side_by_side(folder):
    (folder / "s.yaml").write_text(HEADS.replace(", accumulate: 2", ""))
    proved(folder / "s.yaml", [], folder)
    assert any(run.lock()["packed"] for run in _runs(folder))


def _runs(folder):
    from dlx.runs.lookup import all_runs

    return all_runs(folder / "proof" / "killed")


@pytest.mark.parametrize("changes", [[], ["+train.seeds=2"]])
def test_a_mixture_of_experts(tmp_path, changes):
    proved(SHIPPED["zoo/mixture-of-experts"], changes, tmp_path, trainings=1 + len(changes))


def test_a_unet_whose_targets_are_cropped(tmp_path):
    proved(SHIPPED["zoo/unet-valid"], [], tmp_path, trainings=1, steps=8, kills=2)


def test_several_labels(tmp_path):
    proved(SHIPPED["zoo/multi_label"], ["+train.seeds=2"], tmp_path)
