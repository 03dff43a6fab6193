"""`dlx data`: what was read, against figures by hand, and pictures against what a training sees."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dlx import cli
from dlx.analysis.data import pictures
from dlx.analysis.data.description import described
from dlx.api.trainings import train
from dlx.data.images import contact_sheet
from dlx.errors import SpecError
from dlx.spec import load
from dlx.training.batches.augmentation import AugmentedPart

TABLE = """\
area,town,sold,price,rare
90,Chur,2023-01-15,291,yes
110,Chur,2023-03-02,345,no
,Basel,2023-04-11,597,no
130,Bern,2023-04-12,475,no
90,Chur,2023-05-01,283,no
140,,2023-06-09,498,no
"""
OF_TABLE = """\
dlx: 1
data:
  table: {path: t.csv, target: rare, missing: {area: mean, town: category}, dates: {sold: [year]}, split: order}
"""
AUGMENTED = """\
dlx: 1
name: augmented
data: {shapes: {train: 24, valid: null, test: null, size: 12, standardize: channel}}
network:
  layers:
    - conv: {out_channels: 4, kernel_size: 3, padding: 1}
    - dropout: 0.5
    - conv: {out_channels: 4, kernel_size: 1}
objective: segmentation
train: {steps: 1, batch_size: 6, augment: [horizontal_flip, {rotate: 45}], seed: 3, device: cpu}
track: {mlflow: false}
"""


def spec_of(tmp_path, text, **files):
    (tmp_path / "spec.yaml").write_text(text)
    for name, content in files.items():
        (tmp_path / f"{name}.csv").write_text(content)
    return load(tmp_path / "spec.yaml")


def document_of(tmp_path, text, **files):
    return described(spec_of(tmp_path, text, **files))[""].as_json()


def test_columns_of_a_table_have_their_values_by_hand(tmp_path):
    found = document_of(tmp_path, OF_TABLE, t=TABLE)
    columns = {one["name"]: one for one in found["columns"]}

    area = columns["area"]
    assert (area["missing"], area["distinct"], area["least"], area["greatest"]) == (1, 4, 90, 140)
    assert area["mean"] == pytest.approx((90 + 110 + 130 + 90 + 140) / 5)
    assert columns["town"]["most_frequent"] == [["Chur", 3], ["Basel", 1], ["Bern", 1]]
    assert columns["town"]["missing"] == 1
    assert (columns["sold"]["least"], columns["sold"]["greatest"]) == ("2023-01-15", "2023-06-09")
    assert columns["rare"]["most_frequent"] == [["no", 5], ["yes", 1]]
    assert found["examples"][2]["row"] == {
        "area": None, "town": "Basel", "sold": "2023-04-11", "price": 597, "rare": "no"
    }  # fmt: skip
    assert [step["kind"] for step in found["preprocess"]["input"]] == ["fill"]
    assert "`rare`: 2 texts, `no` and `yes`" in found["fields"][1]["why"]
    assert "`data.table.target` names it" in found["fields"][1]["why"]
    assert "spec.yaml:3:" in found["fields"][1]["why"]


def test_counts_by_part_and_balanced_weights(tmp_path):
    rows = "a,kind\n" + "".join(f"{i},{'x' if i % 4 else 'y'}\n" for i in range(16))
    text = "dlx: 1\ndata: {table: {path: t.csv, target: kind, split: order, test: 4}}\n"
    objective = "objective: {classification: {loss: {cross_entropy: {weight: balanced}}}}\n"
    plain, weighed = (document_of(tmp_path, text + more, t=rows)["classes"]["target"] for more in ("", objective))

    # of 12 training rows 0, 4 and 8 are y: scikit-learn's `balanced` is n / (classes * count)
    assert plain == [
        {"class": 0, "name": "x", "train": 9, "test": 3},
        {"class": 1, "name": "y", "train": 3, "test": 1},
    ]
    assert [one["weight"] for one in weighed] == pytest.approx([12 / (2 * 9), 12 / (2 * 3)])


def test_what_streams_has_the_figures_that_it_has_in_memory(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(3, 2, (50, 4)).astype(np.float32))
    np.save(tmp_path / "y.npy", rng.integers(0, 3, 50))
    text = "dlx: 1\ndata: {{arrays: {{path: x.npy, targets: y.npy, test: 10, standardize: feature, stream: {}}}}}\n"
    memory, streamed = (document_of(tmp_path, text.format(way)) for way in ("false", "true"))

    assert memory == streamed
    assert memory["fields"][0]["figures"]["std"] == pytest.approx(1, abs=1e-6)
    assert memory["preprocess"]["input"][0]["statistics"]["mean"]["values"] == pytest.approx([3] * 4, abs=1)


def test_several_fields_ids_and_positions_that_do_not_count(tmp_path):
    maps = np.zeros((6, 4, 4), np.int64)
    maps[:, 0] = 2
    maps[0, 3] = -100
    np.savez(
        tmp_path / "scans.npz",
        scan=np.zeros((6, 1, 4, 4), np.float32),
        age=np.arange(6)[:, None],
        map=maps,
        patient=np.array(list("abcdef")),
    )
    fields = "inputs: {image: scan, age: age}, targets: {map: map}, ids: patient"
    text = f"dlx: 1\ndata: {{arrays: {{path: scans.npz, {fields}}}}}\n"
    found = document_of(tmp_path, text)

    assert {one["name"]: (one["role"], one["dtype"]) for one in found["fields"]} == {
        "image": ("input", "float32"), "map": ("target", "int64"), "age": ("input", "int64"), "id": ("id", "text"),
    }  # fmt: skip
    (target,) = (one for one in found["fields"] if one["name"] == "map")
    assert target["ignored"] == 4
    assert [one["train"] for one in found["classes"]["map"]] == [6 * 16 - 24 - 4, 0, 24]


def test_a_field_that_the_feed_makes_is_shown_without_values(tmp_path):
    (tmp_path / "s.yaml").write_text("dlx: 1\ndata: {delayed: {size: 4}}\n")
    made = described(load(tmp_path / "s.yaml"))[""]
    state = made.fields[-1]
    assert (state.name, state.dtype, state.shape, state.figures) == ("state", "", (4,), {})
    assert state.why == "made during the training by the data's own feed"
    assert all("state" not in one["fields"] for one in made.examples)


def test_stages_of_different_data_are_described_each(tmp_path):
    text = """\
dlx: 1
data: {digits: {train: 100}}
network: {layers: [flatten, {linear: 5}]}
stages:
  - {name: low, data: {digits: {classes: [0, 1, 2, 3, 4]}}, train: {steps: 1}}
  - {name: high, data: {digits: {classes: [5, 6, 7, 8, 9]}}, train: {steps: 1}}
"""
    found = described(spec_of(tmp_path, text))

    assert list(found) == ["low", "high"]
    assert [one.name for one in found["high"].classes["target"]] == list("56789")


def test_the_pictures_are_those_of_the_first_update(tmp_path, monkeypatch):
    (tmp_path / "spec.yaml").write_text(AUGMENTED)
    experiment = load(tmp_path / "spec.yaml")
    made = described(experiment)[""]
    looks = pictures.first_batch(experiment, made.sets)
    seen = []
    change = AugmentedPart._with
    monkeypatch.setattr(AugmentedPart, "_with", lambda part, *args: seen.append(change(part, *args)) or seen[-1])
    train(experiment, runs=tmp_path / "runs")

    assert looks.augmented["input"].equal(seen[0]["input"])
    assert looks.augmented["target"].equal(seen[0]["target"])
    other = pictures.first_batch(experiment.with_seed(4), made.sets)
    assert not other.augmented["input"].equal(seen[0]["input"])
    assert np.array_equal(looks.original["input"].numpy(), made.sets.train.x[looks.indices])


def test_a_contact_sheet_has_each_original_beside_what_training_sees(tmp_path, capsys):
    (tmp_path / "spec.yaml").write_text(AUGMENTED)
    experiment = load(tmp_path / "spec.yaml")
    made = described(experiment)[""]
    said = pictures.save(experiment, made, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    looks = pictures.first_batch(experiment, made.sets)

    assert said.endswith("the first 6 examples that training sees with seed 3, each beside its original")
    (mean,), (std,) = (made.sets.preprocess[0].found[name].reshape(-1) for name in ("mean", "std"))
    raw = looks.original["input"][0].numpy() * std + mean
    classes = looks.original["target"][0].numpy()
    tile = contact_sheet.painted(contact_sheet.Tile(raw, classes))
    left, top = contact_sheet.MARGIN, contact_sheet.MARGIN + contact_sheet.LINE
    assert tile.shape == (96, 96, 3)
    assert np.abs(sheet[top : top + 96, left : left + 96].astype(int) - tile).max() <= 1
    bare = contact_sheet.painted(contact_sheet.Tile(raw))
    ground = np.repeat(np.repeat(classes == 0, 8, 0), 8, 1)
    assert np.array_equal(tile[ground], bare[ground])
    assert (tile[~ground] != bare[~ground]).any(-1).all()


@pytest.mark.parametrize(
    ("text", "png", "sentence"),
    [
        ("dlx: 1\nnetwork: {layers: [{linear: 3}]}\n", None, "there is no `data`"),
        ("dlx: 1\ndata: {digits: {valld: 0.1}}\n", None, "`digits` has no field `valld`"),
        ("dlx: 1\ndata: {synthetic: {shape: [7], train: 9}}\n", "a.png", "the shape (7,), and a picture has"),
        ("dlx: 1\ndata: digits\n", "a.jpg", "a.jpg does not end in .png"),
        ("dlx: 1\ndata: digits\n", "no/such/a.png", "a.png cannot be written: No such file or directory"),
        (AUGMENTED.replace("4, kernel_size: 1", "5, kernel_size: 1"), "a.png", "and the data has 4 classes on 12x12"),
    ],
)  # fmt: skip
def test_mistakes_are_sentences(tmp_path, text, png, sentence):
    def drawn() -> None:
        experiment = spec_of(tmp_path, text)
        pictures.save(experiment, described(experiment)[""], tmp_path / png)

    with pytest.raises(SpecError) as caught:
        drawn()

    assert sentence in str(caught.value)
    assert caught.value.problems[0].mark


def test_the_command_shows_tables_and_json(tmp_path, capsys, monkeypatch):
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "spec.yaml").write_text(OF_TABLE)
    argv = ["data", str(tmp_path / "spec.yaml"), "data.table.split=random"]
    cli.app(argv, standalone_mode=False)
    shown = capsys.readouterr().out
    cli.app([*argv, "--json"], standalone_mode=False)
    document = json.loads(capsys.readouterr().out)

    assert re.search(r"town +texts, an input each +4 +1 +Chur \(3\), Basel \(1\), Bern \(1\) ", shown)
    assert "train 6 examples" in shown
    assert document["parts"] == {"train": 6}
    assert {one["name"] for one in document["columns"]} == {"area", "town", "sold", "price", "rare"}


STAGES = """\
dlx: 1
data: {digits: {train: 100}}
network: {layers: [flatten, {linear: 5}]}
objective: classification
stages:
  - {name: low, data: {digits: {classes: [0, 1, 2, 3, 4]}}, train: {steps: 1, augment: [{rotate: 20}]}}
  - {name: high, data: {digits: {classes: [5, 6, 7, 8, 9]}}, train: {steps: 1}}
track: {mlflow: false}
"""


@pytest.mark.parametrize(("stage", "names"), [(None, "56789"), ("high", "56789"), ("low", "01234")])
def test_pictures_are_of_the_stage_that_is_named_else_of_the_last(tmp_path, capsys, stage, names):
    """The first has its original beside each picture, which takes twice the width."""
    (tmp_path / "spec.yaml").write_text(STAGES)
    sheet = tmp_path / "sheet.png"
    chosen = [] if stage is None else ["--stage", stage]
    cli.app(["data", str(tmp_path / "spec.yaml"), "--png", str(sheet), "--json", *chosen], standalone_mode=False)
    shown = capsys.readouterr()
    document = json.loads(shown.out)

    whole = stage is None
    assert list(document.get("stages", ())) == (["low", "high"] if whole else [])
    of = document["stages"]["high"] if whole else document
    assert [one["name"] for one in of["classes"]["target"]] == list(names)
    assert f"sheet.png, stage `{stage or 'high'}`: the first 16 examples" in " ".join(shown.err.split())
    wide = 2 * (96 + contact_sheet.MARGIN) if names == "01234" else 96 + contact_sheet.MARGIN
    with Image.open(sheet) as image:
        assert image.width == 4 * (wide + contact_sheet.MARGIN)


def test_a_stage_that_there_is_not_is_a_sentence(tmp_path):
    (tmp_path / "spec.yaml").write_text(STAGES)
    with pytest.raises(SpecError, match="there is no stage `hihg`"):
        cli.app(["data", str(tmp_path / "spec.yaml"), "--stage", "hihg"], standalone_mode=False)


def test_a_table_is_described_without_torch(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "spec.yaml").write_text(OF_TABLE)
    code = (
        "import sys; from dlx.spec import load; from dlx.analysis.data.description import described; "
        f"described(load({str(tmp_path / 'spec.yaml')!r})); "
        "print([m for m in ('torch', 'PIL', 'mlflow') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
