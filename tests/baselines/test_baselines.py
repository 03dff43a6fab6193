"""`dlx baseline`: scikit-learn on the splits, inputs and metrics of a spec. scikit-learn itself is the witness."""

import json
import re
import shutil

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.linear_model import LogisticRegression as SoftmaxRegression
from sklearn.linear_model import Ridge as RidgeRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss, mean_absolute_error, mean_squared_error
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.utils.class_weight import compute_class_weight

from dlx import spec as specs
from dlx import track
from dlx.errors import DlxError, RunError
from dlx.experiment import baselines
from dlx.show import baselines as shown
from dlx.show import run_list
from dlx.spec.baseline_list import with_baselines
from dlx.trained.evaluate import evaluate
from dlx.trained.run_list import Asked
from dlx.trained.run_list import listed as listed_runs
from dlx.training.prepared import loaded

SPEC = """\
dlx: 1
name: s
data: {arrays: {path: a.npz, valid: 40, test: 30, seed: 3, preprocess: [center]}}
network: {layers: [{linear: 3}]}
objective: {classification: {metrics: [f1, auroc]}}
train: {steps: 5, optimizer: {adam: 0.1}}
track: {mlflow: false}
"""
CLASSIFIERS = {
    "dummy": DummyClassifier(strategy="prior"),
    "knn=3": KNeighborsClassifier(3, algorithm="brute"),
    "knn={n_neighbors: 3, metric: l1, weights: distance}": KNeighborsClassifier(
        3, metric="manhattan", weights="distance", algorithm="brute"
    ),
    "knn={n_neighbors: 5, algorithm: kd_tree}": KNeighborsClassifier(5, algorithm="kd_tree"),
    "svm={C: 0.5}": LinearSVC(C=0.5, random_state=0),
    "svm={multi_class: crammer_singer, max_iter: 20000}": LinearSVC(
        multi_class="crammer_singer", max_iter=20_000, random_state=0
    ),
    "logistic_regression={C: 0.1}": SoftmaxRegression(C=0.1),
    "random_forest=20": RandomForestClassifier(20, random_state=0),
}
REGRESSORS = {
    "dummy={strategy: median}": DummyRegressor(strategy="median"),
    "knn={n_neighbors: 3, metric: l1}": KNeighborsRegressor(3, metric="manhattan", algorithm="brute"),
    "svm={C: 0.5, epsilon: 0.1}": LinearSVR(C=0.5, epsilon=0.1, random_state=0, dual="auto"),
    "ridge=2": RidgeRegression(2.0),
    "ridge=0": LinearRegression(),
    "random_forest={n_estimators: 20, max_depth: 4}": RandomForestRegressor(20, max_depth=4, random_state=0),
}


def arrays(folder, values=False, n=160):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    x = (rng.normal(size=(n, 4)) + 2.0 * np.eye(3, 4)[y]).astype(np.float32)
    if values:
        y = (x @ [1.0, -2.0, 0.5, 0.0] + 0.1 * rng.normal(size=n)).astype(np.float32)
    np.savez(folder / "a.npz", x=x, y=y)


@pytest.fixture
def spec(tmp_path):
    arrays(tmp_path)
    (tmp_path / "s.yaml").write_text(SPEC)
    return tmp_path / "s.yaml"


@pytest.fixture
def values(tmp_path):
    arrays(tmp_path, values=True)
    text = SPEC.replace("{linear: 3}", "{linear: 1}").replace(
        "{classification: {metrics: [f1, auroc]}}", "regression"
    )
    (tmp_path / "s.yaml").write_text(text)
    return tmp_path / "s.yaml"


def fitted(path, *kinds, folds=None, changes=()):
    experiment = with_baselines(specs.load(path, changes), kinds)
    return baselines.run(experiment, path.parent / "runs", folds)


def metrics_of(path, kind, **how):
    (group,) = fitted(path, kind, **how).groups
    return {metric.name: metric.mean for metric in group.metrics}


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_classifier_has_the_figures_of_scikit_learn_on_the_same_arrays(spec, kind):
    sets, found = loaded(specs.load(spec)), metrics_of(spec, kind)
    witness = CLASSIFIERS[kind].fit(sets.train.x, sets.train.y)

    for name in ("train", "valid", "test"):
        part = getattr(sets, name)
        assert found[f"{name}/accuracy"] == pytest.approx(accuracy_score(part.y, witness.predict(part.x)))
        assert found[f"{name}/f1"] == pytest.approx(f1_score(part.y, witness.predict(part.x), average="macro"))
        if not kind.startswith("svm"):
            shares = witness.predict_proba(part.x)
            assert found[f"{name}/loss"] == pytest.approx(log_loss(part.y, shares), rel=1e-6)
    assert ("valid/loss" in found, "valid/auroc" in found) == (not kind.startswith("svm"),) * 2


@pytest.mark.parametrize("kind", REGRESSORS)
def test_a_regressor_has_the_figures_of_scikit_learn_on_the_same_arrays(values, kind):
    sets, found = loaded(specs.load(values)), metrics_of(values, kind)
    witness = REGRESSORS[kind].fit(sets.train.x, sets.train.y.ravel())

    for name in ("train", "valid", "test"):
        part = getattr(sets, name)
        error = mean_squared_error(part.y.ravel(), witness.predict(part.x))
        assert found[f"{name}/mse"] == found[f"{name}/loss"] == pytest.approx(error, rel=1e-4)
        error = mean_absolute_error(part.y.ravel(), witness.predict(part.x))
        assert found[f"{name}/mae"] == pytest.approx(error, rel=1e-4)


def test_balanced_weights_of_the_loss_are_those_of_the_training_part(spec):
    data = dict(np.load(spec.parent / "a.npz"))
    rows = np.flatnonzero((data["y"] != 0) | (np.arange(len(data["y"])) % 4 == 0))
    np.savez(spec.parent / "a.npz", x=data["x"][rows], y=data["y"][rows])
    loss = "objective.classification.loss={cross_entropy: {weight: balanced}}"
    found = metrics_of(spec, "logistic_regression", changes=[f"++{loss}"])
    sets = loaded(specs.load(spec))
    shares = SoftmaxRegression().fit(sets.train.x, sets.train.y).predict_proba(sets.test.x)
    weights = compute_class_weight("balanced", classes=np.arange(3), y=sets.train.y)[sets.test.y]

    assert found["test/loss"] == pytest.approx(log_loss(sets.test.y, shares, sample_weight=weights), rel=1e-5)
    assert found["test/loss"] != pytest.approx(log_loss(sets.test.y, shares), rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "own"),
    [
        (["+train.sampling=balanced"], ["`train.sampling: balanced` is"]),
        (
            ["++objective.classification.loss={cross_entropy: {weight: [1, 2, 1]}}"],
            ["the class weights of the loss are"],
        ),
        ([], []),
    ],
)
def test_that_draws_and_class_weights_are_of_the_network_alone_is_noted(spec, changes, own):
    made = with_baselines(specs.load(spec, changes), ["knn=3"])
    (group,) = baselines.run(made, spec.parent / "runs").groups
    alone = " the network's alone: the baseline is fitted to each example once, with equal weight"
    assert [note for note in group.notes if "alone" in note] == [one + alone for one in own]


def test_metrics_of_scaled_targets_are_in_their_own_unit_and_the_loss_is_not(values):
    found = metrics_of(values, "ridge", changes=["objective={regression: {scale: standardize}}"])
    sets, plain = loaded(specs.load(values)), metrics_of(values, "ridge")

    assert found["test/mse"] == pytest.approx(plain["test/mse"], rel=1e-4)
    assert found["test/loss"] == pytest.approx(plain["test/mse"] / sets.train.y.var(), rel=1e-4)


def test_further_inputs_targets_and_weights_are_refused(spec):
    data = dict(np.load(spec.parent / "a.npz"))
    np.savez(spec.parent / "a.npz", **data, z=data["x"][:, :2], w=np.ones(len(data["y"])))
    fields = "data={arrays: {path: a.npz, inputs: {x: x, z: z}, targets: {y: y}, weights: w, valid: 40}}"
    text = fields.replace("a.npz", str(spec.parent / "a.npz"))
    with pytest.raises(
        DlxError, match="one input and one target, and the data has the input `z`, the weight `weight` besides"
    ):
        fitted(spec, "knn", changes=[text])


def test_a_baseline_has_steps_of_its_own_after_those_of_the_data(spec):
    sets = loaded(specs.load(spec))
    scaler = StandardScaler().fit(sets.train.x)
    witness = KNeighborsClassifier(5, algorithm="brute").fit(scaler.transform(sets.train.x), sets.train.y)
    right = accuracy_score(sets.valid.y, witness.predict(scaler.transform(sets.valid.x)))

    assert metrics_of(spec, "knn={preprocess: [standardize]}")["valid/accuracy"] == pytest.approx(right)


def test_two_classes_of_one_logit_have_the_figures_of_scikit_learn(spec):
    data = dict(np.load(spec.parent / "a.npz"))
    np.savez(spec.parent / "a.npz", x=data["x"], y=(data["y"] == 0).astype(np.int64))
    spec.write_text(SPEC.replace("classification: {", "binary_classification: {").replace("linear: 3", "linear: 1"))
    sets = loaded(specs.load(spec))
    for kind, witness in (("knn=4", KNeighborsClassifier(4, algorithm="brute")), ("svm", LinearSVC(random_state=0))):
        found = metrics_of(spec, kind)
        guess = witness.fit(sets.train.x, sets.train.y).predict(sets.test.x)
        assert found["test/accuracy"] == pytest.approx(accuracy_score(sets.test.y, guess))
        assert found["test/f1"] == pytest.approx(f1_score(sets.test.y, guess))


def test_shuffled_labels_leave_every_baseline_at_chance(spec):
    """What a baseline claims is learned from the labels: of shuffled ones nothing is."""
    kinds = ("knn=5", "svm", "logistic_regression", "random_forest=30")
    real = {group.baseline.kind: dict(_means(group)) for group in fitted(spec, *kinds).groups}
    data = dict(np.load(spec.parent / "a.npz"))
    np.savez(spec.parent / "a.npz", x=data["x"], y=np.random.default_rng(1).permutation(data["y"]))
    shuffled = {group.baseline.kind: dict(_means(group)) for group in fitted(spec, *kinds).groups}

    for kind in real:
        assert real[kind]["valid/accuracy"] > 0.55
        assert shuffled[kind]["valid/accuracy"] < 0.5
    assert _means(fitted(spec, "dummy").groups[0])["valid/accuracy"] < 0.5


def _means(group):
    return {metric.name: metric.mean for metric in group.metrics}


def test_the_algorithm_is_fixed_and_ties_are_told(tmp_path):
    """On a grid of whole numbers `brute` and `kd_tree` keep different neighbours where these are equally far."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 4, (120, 2)).astype(np.float32), rng.integers(0, 2, 120)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    path = tmp_path / "s.yaml"
    path.write_text(SPEC.replace("linear: 3", "linear: 2").replace(", preprocess: [center]", ""))

    each = {
        kind: fitted(path, f"knn={{n_neighbors: 3, algorithm: {kind}}}").groups[0] for kind in ("brute", "kd_tree")
    }
    notes = {kind: group.notes for kind, group in each.items()}

    sets = loaded(specs.load(path))
    for kind, group in each.items():
        witness = KNeighborsClassifier(3, algorithm=kind).fit(sets.train.x, sets.train.y)
        distances = witness.kneighbors(sets.valid.x, 4)[0]
        tied = int((distances[:, 2] == distances[:, 3]).sum())
        assert tied > 10
        told = (
            f"valid: {tied} of 40 answers hang on a tie: the neighbours 3 and 4 are equally far, and {kind} keeps one"
        )
        assert f"{told} of them" in notes[kind]
        right = accuracy_score(sets.valid.y, witness.predict(sets.valid.x))
        assert _means(group)["valid/accuracy"] == pytest.approx(right)


def test_even_votes_are_told(spec):
    notes = fitted(spec, "knn=2").groups[0].notes

    assert any("have equally many votes for several classes, and the one with the smallest" in note for note in notes)
    assert not any("votes" in note for note in fitted(spec, "knn=1").groups[0].notes)


def test_several_values_of_a_kind_are_a_baseline_each(spec):
    labels = [group.baseline.label for group in fitted(spec, "knn=1,3,5", "dummy").groups]

    assert labels == ["knn (n_neighbors 1)", "knn (n_neighbors 3)", "knn", "dummy"]


def test_folds_are_those_of_the_spec_and_give_an_interval(spec):
    found = fitted(spec, "knn=3", folds=4)
    (group,) = found.groups
    values = []
    for fold in range(1, 5):
        sets = loaded(specs.load(spec, ["~data.arrays.valid", "++data.arrays.folds=4", f"++data.arrays.fold={fold}"]))
        witness = KNeighborsClassifier(3, algorithm="brute").fit(sets.train.x, sets.train.y)
        values.append(accuracy_score(sets.valid.y, witness.predict(sets.valid.x)))

    metric = next(metric for metric in group.metrics if metric.name == "valid/accuracy")
    assert metric.values == pytest.approx(values)
    assert found.note == "`valid` 40 of the spec gives way to 4 folds"
    assert group.as_json()["interval95"]["valid/accuracy"] == metric.interval95 > 0


def test_a_kind_that_draws_is_fitted_once_for_each_seed(spec):
    forest, nearest = fitted(spec, "random_forest=5", "knn=1", changes=["train.seeds=3"]).groups

    assert [run.result.seed for run in forest.runs] == [0, 1, 2]
    assert [run.result.seed for run in nearest.runs] == [0]
    assert len({run.result.metrics["valid/loss"] for run in forest.runs}) > 1


def test_each_baseline_is_a_run_beside_those_of_the_network(spec, capsys):
    (group,) = fitted(spec, "knn=3").groups
    (one,) = group.runs
    run = one.result.run

    assert run.status() == "finished"
    assert run.read_json("baseline.json")["label"] == "knn (n_neighbors 3)"
    assert run.lock()["packages"]["scikit-learn"]
    assert run.lock()["data"]["digest"] == loaded(specs.load(spec)).digest
    assert specs.load(run.file("spec.yaml")).baselines[0].n_neighbors == 3
    (listed,) = listed_runs(run.root, Asked()).rows
    assert run_list.run_as_json(listed.first)["baseline"] == "knn (n_neighbors 3)"
    run_list.run_list(listed_runs(run.root, Asked()), [], run.root, "table")
    assert "knn (n_neighbors 3)" in capsys.readouterr().out


def test_mlflow_has_the_figures_options_and_the_label_of_a_baseline(spec, empty_store):
    import mlflow

    (group,) = fitted(spec, "knn={n_neighbors: 3, metric: l1, preprocess: [standardize]}").groups
    (one,) = group.runs
    shutil.copy(empty_store, spec.parent / "mlflow.db")
    uri = f"sqlite:///{spec.parent}/mlflow.db"
    assert track.sync(one.result.run, uri).error == ""
    client = mlflow.MlflowClient(uri)
    (experiment,) = [found for found in client.search_experiments() if found.name == "s"]
    (run,) = client.search_runs([experiment.experiment_id])

    assert run.info.status == "FINISHED"
    assert run.data.params["baseline"] == "knn"
    assert json.loads(run.data.params["baseline.n_neighbors"]) == 3
    assert json.loads(run.data.params["baseline.metric"]) == "l1"
    (step,) = json.loads(run.data.params["baseline.preprocess"])
    assert list(step) == ["standardize"]  # a step is named, and not only its options
    assert run.data.tags["dlx.baseline"] == group.baseline.label == "knn (n_neighbors 3, metric l1, of standardize)"
    held = {name: value for name, value in one.result.metrics.items() if name.startswith(("valid/", "test/"))}
    assert held
    assert {name: run.data.metrics[name] for name in held} == pytest.approx(held)


def test_the_table_and_the_document(spec, capsys):
    found = fitted(spec, "knn=3", "svm")
    shown.baselines(found, as_json=False)
    heading, *rows = capsys.readouterr().out.splitlines()
    shown.baselines(found, as_json=True)
    document = json.loads(capsys.readouterr().out)

    assert heading.split()[:2] == ["baseline", "valid/loss"]
    first = document["baselines"][0]
    assert first["baseline"] == {"knn": first["baseline"]["knn"]}
    assert f"{first['metrics']['test/accuracy']:.4g}" in next(row for row in rows if row.startswith("knn"))
    assert "loss, auroc not measured: svm has no probabilities" in document["baselines"][1]["notes"]
    assert any("loss, auroc not measured" in row for row in rows)


@pytest.mark.parametrize(
    ("kinds", "changes", "message", "hint"),
    [
        (["nearest"], [], "there is no baseline `nearest`", "There are auto_regression, dummy, knn"),
        (["knn={k: 3}"], [], "`knn` has no field `k`", "There are the fields"),
        (["knn=0"], [], "`n_neighbors` must be above 0, not 0", ""),
        (["ridge"], [], "ridge learns values, and the targets are classes", "Take logistic_regression."),
        (["knn=range(1,5)"], [], "`range(1,5)` is no list of values", "Write each value: `--kind knn=1,3,5`."),
        (
            [],
            [],
            "no baselines are named",
            "Name them: `--kind knn --kind svm`, or `baselines: [knn, svm]` in the spec.",
        ),
        (["knn"], ["~data"], "there is no `data` to train with", "Write where examples come from: `data: digits`."),
    ],
)
def test_what_cannot_be_fitted_is_told(spec, kinds, changes, message, hint):
    def run():
        experiment = specs.load(spec, changes)
        baselines.run(with_baselines(experiment, kinds) if kinds else experiment, spec.parent / "runs")

    with pytest.raises(DlxError) as refused:
        run()
    problems = refused.value.problems
    assert any(message in problem.message and hint in problem.hint for problem in problems), problems


def test_data_that_stays_on_disk_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((30, 4), np.float32))
    np.save(tmp_path / "y.npy", np.arange(30) % 3)
    path = tmp_path / "s.yaml"
    source = "{arrays: {path: x.npy, targets: y.npy, valid: 5, stream: true}}"
    path.write_text(re.sub(r"data: .*", f"data: {source}", SPEC))

    with pytest.raises(DlxError, match="the data stays on disk, and scikit-learn fits arrays in memory"):
        fitted(path, "knn")


def test_a_baseline_is_not_evaluated_again(spec):
    (group,) = fitted(spec, "knn=3").groups
    run = group.runs[0].result.run
    with pytest.raises(
        DlxError, match=rf"{run.key} is the baseline knn \(n_neighbors 3\), whose estimator is not kept"
    ):
        evaluate([run])


def test_what_scikit_learn_refuses_ends_the_run_with_its_sentence(spec):
    with pytest.raises(RunError, match=r"scikit-learn refuses the data: Expected n_neighbors <= n_samples_fit"):
        fitted(spec, "knn=500")
    (run,) = (spec.parent / "runs/s").iterdir()
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["status"] == "failed"


def test_a_search_that_has_not_converged_is_told(spec):
    notes = fitted(spec, "logistic_regression={max_iter: 1}").groups[0].notes

    assert "not converged in max_iter 1: more iterations, or standardised inputs, may better it" in notes


def test_the_spec_may_name_its_baselines(spec):
    spec.write_text(SPEC + "baselines: [dummy, {knn: {n_neighbors: 1, metric: l1}}]\n")
    labels = [group.baseline.label for group in baselines.run(specs.load(spec), spec.parent / "runs").groups]

    assert labels == ["dummy", "knn (n_neighbors 1, metric l1)"]
