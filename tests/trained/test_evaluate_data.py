"""`dlx evaluate --data` with the data of the run itself comes to the figures of the run, whatever the kind is."""

import struct
from math import prod

import numpy as np
import pytest
import yaml
from helpers import SHIPPED_DATA
from PIL import Image

from dlx.data import DATASETS
from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.spec import load
from dlx.trained.closer import Closer
from dlx.trained.evaluate import evaluate

QUICK = {"table", "arrays", "images", "shapes", "synthetic"}
WALK = [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in SHIPPED_DATA]


@pytest.fixture
def options(tmp_path):
    """What each kind is given, few examples of it; what needs files has them."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 60, 4, 4) + bytes(range(240)) * 4)
    labels.write_bytes(struct.pack(">HBBI", 0, 8, 1, 60) + bytes([0, 1, 2] * 20))
    rng = np.random.default_rng(0)
    far = 1_700_000_000 + rng.normal(size=(30, 2, 3))  # seconds: float32 knows them to 128
    np.savez(tmp_path / "a.npz", x=far, y=np.arange(30) % 4)
    lines = (f"{i if i % 7 else ''},{'abc'[i % 3]},{'true' if i % 2 else ''},{'xyz'[i % 3]}" for i in range(60))
    (tmp_path / "t.csv").write_text("\n".join(["size,kind,far,sort", *lines]))
    for i in range(12):
        (tmp_path / "pictures" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        picture.save(tmp_path / "pictures" / "ab"[i % 2] / f"{i}.png")
    for kind in ("cifar10", "cifar100"):
        (tmp_path / kind).mkdir()
        for file in (*DATASETS[kind].files, DATASETS[kind].test_file):
            records = rng.integers(0, 10, (8, DATASETS[kind].labels + 3072), dtype=np.uint8)
            (tmp_path / kind / file).write_bytes(records.tobytes())
    every = {
        "arrays": {"path": "a.npz", "valid": 0.2, "test": 10, "standardize": "feature"},
        "cifar10": {"path": "cifar10", "valid": 0.2, "standardize": "channel"},
        "cifar100": {"path": "cifar100", "valid": 2, "standardize": "channel"},
        "images": {"path": "pictures", "valid": 0.2, "test": 3, "preprocess": [{"pca": 5}]},
        "idx": {"images": "images", "labels": "labels", "valid": 0.2, "test": 10, "standardize": "all"},
        "mnist1d": {"train": 90, "test": 30, "valid": 10},
        "synthetic": {"shape": [2, 3], "train": 30, "test": 10},
        "digits": {"train": 50, "valid": 20, "test": 20, "standardize": "channel"},
        "table": {"path": "t.csv", "target": "sort", "valid": 0.2, "test": 10, "standardize": "feature"}
        | {"missing": {"size": "indicator", "*": "most_frequent"}},
    }
    return lambda kind: every.get(kind, {"train": 40, "valid": 10, "test": 10})


def last_layers(facts):
    """What ends a network as the data wants it."""
    shape = ([facts.classes] if facts.classes is not None else []) + list(facts.target or ())
    return ["flatten", {"linear": prod(shape)}, *([{"reshape": shape}] if len(shape) > 1 else [])]


def trained(tmp_path, kind, options, **more):
    data = {kind: options}
    spec = tmp_path / "s.yaml"
    spec.write_text(yaml.safe_dump({"data": data, "network": {"layers": []}, "train": {"steps": 1}}))
    layers = last_layers(load(spec).data.facts())
    train = {"steps": 3, "batch_size": 8, "optimizer": {"adam": 0.01}}
    text = {"data": data, "network": {"layers": layers}, "train": train, "track": {"mlflow": False}, **more}
    spec.write_text(yaml.safe_dump(text))
    return runner.run(load(spec), tmp_path / "runs").results[0]


@pytest.mark.parametrize("kind", WALK)
def test_the_data_of_the_run_itself_gives_its_own_figures(tmp_path, kind, options):
    result = trained(tmp_path, kind, options(kind))
    name, value = next((name, value) for name, value in options(kind).items() if not isinstance(value, list))
    again = evaluate([result.run], data=[f"{name}={tmp_path / value if isinstance(value, str) else value}"])

    held = {name: value for name, value in result.metrics.items() if name.startswith(("valid/", "test/"))}
    assert held
    assert again.metrics == held
    assert again.data == (f"{name}={tmp_path / value if isinstance(value, str) else value}",)


def test_a_table_that_lacks_a_category_and_misses_nothing_is_read_as_in_the_training(tmp_path, options):
    result = trained(tmp_path, "table", options("table"))
    rows = (tmp_path / "t.csv").read_text().splitlines()
    whole = [row for row in rows[1:] if ",b," not in row and ",," not in row and not row.startswith(",")]
    (tmp_path / "u.csv").write_text("\n".join([rows[0], *whole]))
    of_other = evaluate([result.run], data=[f"path={tmp_path / 'u.csv'}", "valid=0", "test=null"], parts=["train"])
    (tmp_path / "both.csv").write_text("\n".join([rows[0], *whole, *whole]))
    twice = evaluate([result.run], data=[f"path={tmp_path / 'both.csv'}", "valid=0", "test=null"], parts=["train"])

    assert of_other.metrics == pytest.approx(twice.metrics)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(*("size,kind,sort\n1,a,x\n2,b,y\n", "has no column `far`, which s/"), marks=pytest.mark.slow),
        ("size,kind,far,sort\n1,d,true,x\n2,b,false,y\n", "holds `d`, which the training file does not have"),
        ("size,kind,far,sort\n1,a,true,w\n2,b,false,y\n", "holds `w`, which the training file does not have"),
        pytest.param(
            *("size,kind,far,sort\n1,,true,x\n2,b,false,y\n", "values are missing in .*column `kind`"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path, options, text, sentence):
    result = trained(tmp_path, "table", options("table") | {"missing": {"kind": "refuse", "*": "most_frequent"}})
    (tmp_path / "u.csv").write_text(text)

    with pytest.raises(DlxError, match=sentence):
        evaluate([result.run], data=[f"path={tmp_path / 'u.csv'}", "valid=0", "test=null"])


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("table", {"split": "random", "seed": 3}),
        ("arrays", {"label_noise": 0.1}),
        ("images", {"stratify": True}),
    ],
)
def test_a_file_alone_is_measured_whole_and_in_its_order(tmp_path, kind, options, more):
    """What it comes to is what its rows come to as the training part; one part of it is another figure."""
    result = trained(tmp_path, kind, options(kind) | more)
    path = tmp_path / options(kind)["path"]
    found = evaluate([result.run], data=[str(path)], closer=Closer(wrong=3))
    plain = dict.fromkeys(("valid", "test"), "null") | ({"label_noise": "null"} if "label_noise" in more else {})
    changes = [f"path={path}", *(f"{name}={value}" for name, value in plain.items()), "stratify=false"]
    rows = evaluate([result.run], data=changes, parts=["train"])

    assert set(found.metrics) == {name.replace("train/", "test/") for name in rows.metrics}
    for name, value in rows.metrics.items():
        assert found.metrics[name.replace("train/", "test/")] == pytest.approx(value, rel=1e-5)
    assert found.metrics["test/loss"] != pytest.approx(result.metrics["test/loss"], rel=1e-4)
    assert found.data == (str(path),)
    assert found.wrong[0].part == "test"


def test_rows_of_a_file_have_their_numbers_and_may_be_another_number(tmp_path, options):
    result = trained(tmp_path, "table", options("table"))
    rows = (tmp_path / "t.csv").read_text().splitlines()
    (tmp_path / "it's new.csv").write_text("\n".join([rows[0], *rows[5:9]]))
    found = evaluate([result.run], data=[str(tmp_path / "it's new.csv")], closer=Closer(wrong=9))

    assert sorted(found.wrong[0].names, key=int) == ["0", "1", "2", "3"]
    names = dict(zip(found.wrong[0].names, (row[1] for row in found.wrong[0].rows), strict=True))
    assert [names[str(i)] for i in range(4)] == [row.rpartition(",")[2] for row in rows[5:9]]


def test_files_that_do_not_fit_are_sentences(tmp_path, options):
    table = trained(tmp_path, "table", options("table")).run
    (tmp_path / "b.csv").write_text("a\n1\n")
    for data, sentence in (
        ([str(tmp_path / "c.csv")], r"c\.csv does not exist"),
        ([str(tmp_path / "t.csv"), str(tmp_path / "b.csv")], "names the files .* give one"),
        ([str(tmp_path / "b.csv")], "has no column"),
        (["valid"], "`--data valid` says no value"),
    ):
        with pytest.raises(DlxError, match=sentence):
            evaluate([table], data=data)
    digits = trained(tmp_path, "digits", options("digits")).run
    with pytest.raises(DlxError, match="is a file, and the data `digits` has no `path`"):
        evaluate([digits], data=["b.csv"])


# --- objectives with phases -----------------------------------------------------------------------------------------

PHASES = {
    "autoencoder": "network: {layers: [{linear: 1}, {linear: 3}]}\nobjective: autoencoder\n",
    "gan": """
networks:
  generator: {inputs: {noise: [2]}, layers: [linear: 3]}
  discriminator: {inputs: {row: [3]}, layers: [linear: 1]}
objective: gan
""",
    "flow": "network: {layers: [actnorm]}\nobjective: flow\n",
}


def of_phases(folder, name):
    """A run on rows whose columns are standardised, and other rows of the same columns."""
    rng = np.random.default_rng(0)
    np.savez(folder / "x.npz", x=rng.normal(3, 2, (60, 3)).astype(np.float32))
    np.savez(folder / "other.npz", x=rng.normal(9, 2, (40, 3)).astype(np.float32))
    data = f"dlx: 1\ndata: {{arrays: {{path: {folder}/x.npz, target: null, test: 20, standardize: feature}}}}\n"
    train = "train: {steps: 5, batch_size: 20, optimizer: {adam: 0.01}}\ntrack: {mlflow: false}\n"
    (folder / "s.yaml").write_text(data + PHASES[name] + train)
    return runner.run(load(folder / "s.yaml"), folder / "runs").results[0]


@pytest.mark.parametrize("name", PHASES)
def test_phases_are_measured_on_a_file_with_the_statistics_of_the_training(tmp_path, name):
    result = of_phases(tmp_path, name)
    same = evaluate([result.run], data=["test=20"]).metrics
    assert same == pytest.approx({k: v for k, v in result.metrics.items() if k.startswith("test/")}, rel=1e-5)
    other = evaluate([result.run], data=[str(tmp_path / "other.npz")]).metrics
    assert other.keys() == same.keys()
    if name == "autoencoder":  # rows that lie three deviations away; standardised anew they would lie at 0
        assert other["test/mse"] > 2 * same["test/mse"]


def test_other_fields_than_those_of_a_run_of_phases_are_told(tmp_path):
    run = of_phases(tmp_path, "gan").run
    np.savez(tmp_path / "wide.npz", x=np.zeros((9, 4), np.float32))
    with pytest.raises(DlxError, match=r"has inputs of shape \(4,\), and .* was trained on \(3,\)"):
        evaluate([run], data=[str(tmp_path / "wide.npz")])
