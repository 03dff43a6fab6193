"""`label_noise`: wrong targets in the training part, clean ones in the others."""

import json
from pathlib import Path

import numpy as np
import pytest

from dlx.cli import app
from dlx.data import Sets
from dlx.data.label_noise import LabelNoise
from dlx.errors import DlxError, SpecError
from dlx.experiment import runner
from dlx.spec import load
from dlx.training.prepared import loaded, prepare

LABELS = np.repeat(np.arange(4), 250)


@pytest.fixture
def spec(tmp_path):
    def written(data: str, objective: str = "", layers: str = "flatten, {linear: 10}", epochs: int = 1):
        path = tmp_path / "s.yaml"
        more = f"objective: {objective}\n" if objective else ""
        path.write_text(
            f"dlx: 1\nname: s\ndata: {data}\nnetwork: {{layers: [{layers}]}}\n{more}"
            f"train: {{epochs: {epochs}}}\ntrack: {{mlflow: false}}\n"
        )
        return path

    return written


def read(path: Path) -> Sets:
    """The data of a spec; SpecError where it has mistakes."""
    experiment = load(path)
    if experiment.problems:
        raise SpecError(*experiment.problems)
    return loaded(experiment)


def confusion(noise: LabelNoise, seed: int = 0) -> np.ndarray:
    made = noise.noisy(LABELS, 4, seed)
    return np.array([[((i == LABELS) & (made == j)).sum() for j in range(4)] for i in range(4)])


# --- the noise -----------------------------------------------------------------------------------------------------


def test_exactly_that_part_of_the_labels_gets_another_class():
    found = confusion(LabelNoise(rate=0.2))
    assert found.trace() == 800
    others = found[~np.eye(4, dtype=bool)]
    # 200 labels to one of three others: 16.7 a cell, of deviation 4
    assert 4 < others.min() <= others.max() < 33
    assert (found.sum(1) == 250).all()
    assert (confusion(LabelNoise(rate=0.2), seed=1) != found).any()
    assert (confusion(LabelNoise(rate=0.2)) == found).all()


def test_every_label_is_wrong_at_rate_one():
    assert confusion(LabelNoise(rate=1.0)).trace() == 0


def test_a_pair_is_the_next_class_and_the_first_after_the_last():
    found = confusion(LabelNoise(rate=0.4, flip="pair"))
    assert found.trace() == 600
    assert found[range(4), [1, 2, 3, 0]].sum() == 400


def test_a_matrix_has_the_probabilities_of_each_class():
    matrix = [[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0.25, 0.25, 0.25, 0.25]]
    found = confusion(LabelNoise(matrix=matrix))
    assert not found[np.array(matrix) == 0].any()
    assert found[1, 1] == found[2, 3] == 250
    # three deviations of 250 draws at one half, at a quarter
    assert abs(found[0, 0] - 125) < 24
    assert abs(found[3] - 62.5).max() < 21


def test_labels_that_do_not_count_stay():
    labels = np.array([[0, 1, -100], [2, -100, 3]])
    made = LabelNoise(rate=1.0).noisy(labels, 4, 0)
    assert ((made == labels) == (labels < 0)).all()


def test_the_noise_of_values_is_normal_in_their_unit():
    values = np.zeros((20_000, 1), np.float32)
    found = LabelNoise(std=2.5).shifted(values, 0)
    assert found.dtype == np.float32
    assert found.std() == pytest.approx(2.5, rel=0.02)
    assert abs(found.mean()) < 0.06


# --- data sets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        "{digits: {valid: 0.2, test: 0.2%s}}",
        "{mnist1d: {valid: 100, test: 100%s}}",
        "{synthetic: {shape: [4], train: 500, valid: 50, test: 50%s}}",
        "{moons: {train: 500, valid: 50%s}}",
        "{shapes: {targets: class, train: 50, valid: 10, test: 10, size: 16%s}}",
    ],
)
def test_training_labels_are_counted_and_the_other_parts_are_clean(spec, data):
    noisy, clean = (loaded(load(spec(data % more))) for more in (", label_noise: 0.3", ""))
    count = len(clean.train)
    assert (noisy.train.y != clean.train.y).sum() == round(0.3 * count) == noisy.label_noise["changed"]
    assert np.array_equal(noisy.train.x, clean.train.x)
    for name in ("valid", "test"):
        assert np.array_equal(getattr(noisy, name).y, getattr(clean, name).y)
    assert not clean.label_noise
    assert f"label noise: {round(0.3 * count):,} of {count:,} training labels changed" in noisy.notes[-1]


def test_each_fold_has_noise_on_what_it_trains_on_alone(spec):
    for fold in (1, 2):
        noisy, clean = (
            loaded(load(spec(f"{{digits: {{folds: 3, fold: {fold}{more}}}}}"))) for more in (", label_noise: 0.1", "")
        )
        assert (noisy.train.y != clean.train.y).sum() == round(0.1 * len(clean.train))
        assert np.array_equal(noisy.valid.y, clean.valid.y)


def flats(tmp_path) -> str:
    rows = [f"{i},{3 * i},{'yes' if i % 3 else 'no'}" for i in range(100)]
    (tmp_path / "t.csv").write_text("\n".join(["area,price,rented", *rows]) + "\n")
    targets = "{price: values, rented: classes}"
    return f"table: {{path: t.csv, inputs: {{x: {{columns: [area]}}}}, targets: {targets}, test: 20"


def test_one_of_several_targets_is_noisy(spec, tmp_path):
    text = flats(tmp_path)
    clean = loaded(load(spec(f"{{{text}}}}}")))
    for noise, name in (("{rate: 0.5, target: rented}", "rented"), ("{std: 4, target: price}", "price")):
        noisy = loaded(load(spec(f"{{{text}, label_noise: {noise}}}}}")))
        for field in ("price", "rented"):
            differ = noisy.values(noisy.train, field) != clean.values(clean.train, field)
            assert differ.sum() == {"rented": 40, "price": 80}[name] * (field == name)
            assert np.array_equal(noisy.values(noisy.test, field), clean.values(clean.test, field))


@pytest.mark.parametrize(
    ("noise", "sentence"),
    [
        ("0.2", "is of one target, and the data has `price`, `rented`"),
        ("{rate: 0.2, target: rent}", "names the target `rent`, and the data has `price`, `rented`"),
        ("{rate: 0.2, target: price}", "changes classes by a `rate`, and the target `price` has values"),
        ("{std: 1, target: rented}", "adds to values by `std`, and the target `rented` has 2 classes"),
        (
            "{matrix: [[1, 0, 0], [0, 1, 0], [0, 0, 1]], target: rented}",
            "is of 3 classes, and the target `rented` has 2",
        ),
        ("{matrix: [[1, 1], [0, 1]]}", "row 0 of `matrix` has 2 numbers of sum 2: give 2 of sum 1"),
        ("{rate: 0.2, std: 1}", "`rate` and `std` is there: give one"),
        ("{flip: pair}", "neither is there: give one"),
        ("{std: 1, flip: pair}", "`flip: pair` says which class `rate` labels get, and there is `std`"),
        ("1.2", "at most 1"),
        ("0", "`rate` must be"),
    ],
)
def test_noise_that_does_not_fit_is_refused(spec, tmp_path, noise, sentence):
    path = spec(f"{{{flats(tmp_path)}, label_noise: {noise}}}}}")
    with pytest.raises(SpecError) as refused:
        read(path)
    found = [problem for problem in refused.value.problems if sentence in problem.message]
    assert found, [problem.message for problem in refused.value.problems]
    assert found[0].mark is not None


def test_an_error_of_the_noise_stands_at_its_own_line(spec, tmp_path):
    path = spec("\n  digits:\n    test: 0.2\n    label_noise:\n      std: 1")
    with pytest.raises(SpecError) as refused:
        read(path)
    (problem,) = refused.value.problems
    assert (problem.mark.line, problem.path) == (6, "data.digits.label_noise")
    assert path.read_text().splitlines()[5].strip() == "label_noise:"
    path = spec("\n  digits:\n    test: 2000")
    with pytest.raises(SpecError) as refused:
        read(path)
    assert refused.value.problems[0].mark.line == 4


@pytest.mark.parametrize(
    ("data", "objective", "layers", "sentence"),
    [
        (
            "{shapes: {targets: boxes, test: 10, train: 20, label_noise: {std: 1}}}",
            "detection",
            "flatten, {linear: 208}, {reshape: [13, 4, 4]}",
            "and detection learns boxes, with whether there is one and its class from `target`",
        ),
        (
            "{arrays: {path: l.npz, task: regression, test: 10, label_noise: {std: 1}}}",
            "multilabel",
            "{linear: 5}",
            "and multilabel learns 0 and 1 of each label from `target`",
        ),
    ],
)
def test_normal_noise_is_refused_where_targets_are_no_measurements(spec, tmp_path, data, objective, layers, sentence):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (30, 5)).astype(np.float32)
    np.savez(tmp_path / "l.npz", x=rng.normal(size=(30, 3)).astype(np.float32), y=labels)
    with pytest.raises(SpecError) as refused:
        prepare(load(spec(data, objective, layers)))
    (problem,) = refused.value.problems
    assert sentence in problem.message
    assert problem.mark.line == 3
    assert problem.path.endswith(".label_noise")
    prepare(load(spec(data.replace(", label_noise: {std: 1}", ""), objective, layers)))


def test_means_of_targets_stand_beside_no_noise(spec, tmp_path):
    (tmp_path / "t.csv").write_text("town,rented\n" + "Bern,yes\nChur,no\n" * 20)
    path = spec("{table: {path: t.csv, target: rented, target_encoding: [town], label_noise: 0.2}}")
    with pytest.raises(DlxError, match="before `label_noise` is on them"):
        prepare(load(path))


# --- runs ----------------------------------------------------------------------------------------------------------


def test_inspect_and_the_lock_of_a_run_tell_it(spec, tmp_path, capsys):
    path = spec("{digits: {test: 0.2, label_noise: 0.3}}")
    assert not app(["inspect", str(path)], standalone_mode=False)
    assert "label noise: 0.3 of the training labels, symmetric" in capsys.readouterr().out
    assert not app(["inspect", str(path), "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["label_noise"] == {"rate": 0.3, "flip": "symmetric"}
    (result,) = runner.run(load(path), tmp_path / "runs").results
    record = {"rate": 0.3, "flip": "symmetric", "seed": 0, "changed": 378, "of": 1259}
    assert result.run.lock()["data"]["label_noise"] == record


def test_a_network_learns_the_clean_rule_less_well_from_noisy_labels(spec, tmp_path):
    accuracy = {}
    for noise in ("null", "0.6"):
        path = spec(f"{{digits: {{test: 0.3, label_noise: {noise}}}}}", epochs=20)
        (result,) = runner.run(load(path), tmp_path / "runs").results
        accuracy[noise] = result.metrics["test/accuracy"], result.metrics["train/accuracy"]
    assert accuracy["null"][0] > 0.93
    assert accuracy["0.6"][0] < 0.9
    # evaluated on clean labels it is far above what noisy ones allow: at most 0.4 of them are right
    assert accuracy["0.6"][0] > accuracy["0.6"][1] + 0.2
