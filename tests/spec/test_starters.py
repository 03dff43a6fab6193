"""`dlx new`: starters that train, copies of shipped specs, and specs that fit a file of data."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import dlx
from helpers import ROOT
from PIL import Image
from sklearn import datasets

from dlx.errors import DlxError
from dlx.experiment.runner import run
from dlx.graph import trace_all
from dlx.spec import load, starter
from dlx.spec.starters.builtin import STARTERS
from dlx.spec.syntax.read import read

ROWS = 40


def csv(folder: Path, text: str, name: str = "my.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def rows(head: str, row) -> str:
    return "\n".join([head, *(row(i) for i in range(ROWS))]) + "\n"


def written(folder: Path, data: Path, target: str | None = None) -> dict:
    """The spec that is written for the data, in plain values; it makes a network."""
    starter.write_for(folder / "s.yaml", data, target, force=True)
    trace_all(load(folder / "s.yaml"))
    return read(folder / "s.yaml").plain()


def refusal(folder: Path, data: Path, target: str | None = None) -> str:
    with pytest.raises(DlxError) as refused:
        starter.write_for(folder / "s.yaml", data, target)
    assert not (folder / "s.yaml").exists()
    return str(refused.value).replace(str(folder), "HERE")


def pictures(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), size: int = 12) -> Path:
    """Grey pictures, darker in one class than in the next."""
    draws = np.random.default_rng(0)
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            values = draws.uniform(0, 100, (size, size)) + 100 * place
            Image.fromarray(values.astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


def titanic(folder: Path) -> Path:
    """Passengers as the well-known file has them, made up; women survive more often."""
    draws = np.random.default_rng(0)
    lines = ["PassengerId,Survived,Pclass,Name,Sex,Age,Ticket,Cabin,Embarked"]
    for i in range(300):
        sex, age = draws.choice(["male", "female"]), f"{draws.uniform(1, 70):.0f}" if i % 5 else ""
        survived = int(draws.random() < (0.9 if sex == "female" else 0.1))
        cabin = f"C{i}" if i % 4 == 0 else ""
        lines.append(f'{i + 1},{survived},{i % 3 + 1},"No, Mr. {i}",{sex},{age},A/5 {i},{cabin},{"SCQ"[i % 3]}')
    return csv(folder, "\n".join(lines), "titanic.csv")


def bundle(folder: Path, name: str) -> Path:
    found = getattr(datasets, f"load_{name}")()
    names = [str(one).replace(",", "") for one in found.feature_names]
    goal = [found.target_names[i] for i in found.target] if name == "iris" else found.target
    table = "\n".join(",".join(map(str, [*x, y])) for x, y in zip(found.data, goal, strict=True))
    return csv(folder, ",".join([*names, "target"]) + "\n" + table, f"{name}.csv")


def test_a_table_like_titanic_is_read_as_one_would(tmp_path):
    spec = written(tmp_path, titanic(tmp_path))
    assert spec["data"]["table"] == {
        "path": "titanic.csv",
        "target": "Survived",
        "task": "classification",
        "drop": ["PassengerId", "Name", "Ticket", "Cabin"],
        "missing": {"Age": "median"},
        "standardize": "feature",
        "valid": 0.15,
        "test": 0.15,
        "stratify": True,
        "categorical": ["Pclass"],
    }
    text = (tmp_path / "s.yaml").read_text()
    assert "# 2 classes: 0, 1; chosen by its name" in text
    assert "- PassengerId                 # counts the rows" in text
    assert "Age: median                   # 60 of 300" in text


@pytest.mark.parametrize(("count", "parts"), [(2, None), (3, 0.34), (6, 0.17), (7, 0.15)])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_few_pictures_leave_one_for_each_part_that_is_held_out(tmp_path, count, parts, labelled):
    for i in range(count):
        path = tmp_path / "pets" / ("ab"[i % 2] if labelled else "") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 16, 3), 40 * i, np.uint8)).save(path)
    images = written(tmp_path, tmp_path / "pets")["data"]["images"]
    assert (images.get("valid"), images.get("test")) == (parts, parts)
    sets = load(tmp_path / "s.yaml").data.load()
    sizes = {
        part: len(getattr(sets, part).x) for part in ("train", "valid", "test") if getattr(sets, part) is not None
    }
    assert sum(sizes.values()) == count
    assert min(sizes.values()) >= 1


def test_numbers_that_are_names_are_categories(tmp_path):
    table = csv(tmp_path, rows("zip,post_code,size,price", lambda i: f"0010{i % 3},{i % 4},{i % 7},{i}.5"))
    assert written(tmp_path, table)["data"]["table"]["categorical"] == ["zip", "post_code"]


def test_classes_that_are_numbered_from_one_have_an_output_more(tmp_path):
    spec = written(tmp_path, csv(tmp_path, rows("size,stars", lambda i: f"{i}.5,{1 + i % 5}")))
    assert spec["network"]["layers"][-1] == {"linear": 6}
    below = written(tmp_path, csv(tmp_path, rows("size,sign", lambda i: f"{i}.5,{2 * (i % 2) - 1}")))
    assert "regression" in below["objective"]  # numbers below 0 are no classes


@pytest.mark.parametrize(
    ("name", "metric", "least"),
    [
        ("iris", "test/accuracy", 0.85),
        pytest.param("wine", "test/accuracy", 0.85, marks=pytest.mark.slow),
        ("diabetes", "test/r2", 0.2),
    ],
)
def test_what_is_written_for_real_tables_trains_to_better_than_guessing(tmp_path, name, metric, least):
    starter.write_for(tmp_path / "s.yaml", bundle(tmp_path, name))
    results = run(load(tmp_path / "s.yaml", ["track.mlflow=false"]), tmp_path / "runs")
    assert results.metrics[metric] > least
    assert not [note for one in results.results for note in one.notes if "no better than guessing" in note]


def test_a_target_of_values_begins_at_its_mean(tmp_path):
    data = csv(tmp_path, rows("size,price", lambda i: f"{i}.5,{1000 + 10 * i}"))
    spec = written(tmp_path, data)
    last, scale = spec["network"]["layers"][-2:]
    spread = float(np.std(1000 + 10 * np.arange(ROWS)))
    assert scale == {"scale": pytest.approx(spread, rel=1e-3)}
    assert last["values"]["bias"] == pytest.approx((1000 + 195) / spread, rel=1e-3)
    assert spec["objective"] == {"regression": {"metrics": ["r2"]}}


def test_a_target_that_is_named_is_taken_else_the_last_column_that_can_be_predicted(tmp_path):
    data = csv(tmp_path, rows("a,b,note", lambda i: f"{i % 7}.5,{'xy'[i % 2]},text {i}"))
    assert written(tmp_path, data)["data"]["table"]["target"] == "b"
    assert written(tmp_path, data, "a")["data"]["table"]["target"] == "a"
    notes = starter.write_for(tmp_path / "s.yaml", data, force=True)
    assert notes[:2] == (
        "target: b, 2 classes (chosen as the last column; `--target COLUMN` takes another)",
        "left out: note, which has another text in each row",
    )


@pytest.mark.parametrize(
    "name", ["yes", "null", "1e3", "a: b", 'a "b"', "it's", "# no", "- x", "é", "a\nb", "{c}", "~"]
)
def test_a_column_of_any_name_is_meant_by_it(tmp_path, name):
    head = '"' + name.replace('"', '""') + '"'
    data = csv(tmp_path, rows(f"x,once,{head}", lambda i: f"{i}.5,{i},{'ab'[i % 2]}"))
    assert written(tmp_path, data, name)["data"]["table"]["target"] == name
    data = csv(tmp_path, rows(f"x,{head},label", lambda i: f"{i}.5,always,{'ab'[i % 2]}"))
    assert written(tmp_path, data)["data"]["table"]["drop"] == [name]


def test_a_column_called_like_an_expression_is_left_alone_or_refused(tmp_path):
    data = csv(tmp_path, rows("${w},y", lambda i: f"{i}.5,{i % 2}"))
    assert written(tmp_path, data)["data"]["table"]["target"] == "y"
    (tmp_path / "s.yaml").unlink()
    assert refusal(tmp_path, data, "${w}") == ("  `${w}` holds `${`, which a spec takes for arithmetic\n  Rename it.")


@pytest.mark.parametrize(
    ("text", "target", "sentence"),
    [
        ("", None, "HERE/my.csv cannot be read as CSV: Empty CSV file"),
        ("a,b\n", None, "HERE/my.csv holds no rows"),
        ("a,b\n1,2\n", None, "HERE/my.csv has 1 row, too few to hold some out: 10 are the least"),
        (rows("a", str), None, "HERE/my.csv has 1 column"),
        (rows("a,a", lambda i: f"{i},{i}"), None, "HERE/my.csv has two columns `a`"),
        (rows("id,name", lambda i: f"{i},n{i}"), None, "no column to predict: `id` counts the rows; `name` has"),
        (rows("id,y", lambda i: f"{i},{i % 2}"), None, "no column to learn `y` from: `id` counts the rows"),
        (
            rows("en,de", lambda i: f"house {i},Haus {i}"),
            "de",
            "writes a text from another, with `inputs: {en: text, so_far: {shifted: de}}` and `targets: {de: text}`",
        ),
        (rows("a,b", lambda i: f"{i}.5,1"), "b", "column `b` of HERE/my.csv has one value, and cannot be predicted"),
        (rows("price,b", lambda i: f"{i}.5,{i % 2}"), "prise", "`--target` names\n  Did you mean `price`?"),
        ("a,b\n1\n2,3,4\n", None, "HERE/my.csv cannot be read as CSV: CSV parse error"),
    ],
)
def test_a_table_that_cannot_be_learned_is_refused(tmp_path, text, target, sentence):
    assert sentence in refusal(tmp_path, csv(tmp_path, text), target)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    data = tmp_path / "my.csv"
    data.write_bytes(rows("a,b", lambda i: f"{i},caf\xe9{i % 2}").encode("latin-1"))
    assert "column `b` of HERE/my.csv is not UTF-8" in refusal(tmp_path, data)
    assert "there is no HERE/none.csv" in refusal(tmp_path, tmp_path / "none.csv")


def test_a_folder_of_pictures_gets_convolutions_and_trains(tmp_path):
    spec = written(tmp_path, pictures(tmp_path / "pets"))
    assert spec["data"]["images"]["path"] == "pets"
    assert "size" not in spec["data"]["images"]  # small, and all of one size
    assert spec["network"]["layers"][-1] == {"linear": 2}
    results = run(load(tmp_path / "s.yaml", ["track.mlflow=false", "train.epochs=10"]), tmp_path / "runs")
    assert results.metrics["test/accuracy"] > 0.8
    (tmp_path / "none").mkdir()
    (tmp_path / "s.yaml").unlink()
    assert "HERE/none has no pictures in folders of classes" in refusal(tmp_path, tmp_path / "none")


@pytest.mark.parametrize(
    ("shape", "channels", "first"),
    [
        ((5,), None, "linear"),
        ((8, 8), "none", "conv"),
        ((8, 8, 3), "last", "conv"),
        ((3, 8, 8), None, "conv"),
        ((1, 30), None, "conv"),
    ],
)
def test_arrays_are_read_by_their_shape(tmp_path, shape, channels, first):
    draws = np.random.default_rng(0)
    np.savez(tmp_path / "my.npz", x_train=draws.random((ROWS, *shape)), y_train=np.arange(ROWS) % 3)
    spec = written(tmp_path, tmp_path / "my.npz")
    assert spec["data"]["arrays"].get("channels") == channels
    assert (spec["data"]["arrays"]["x"], spec["data"]["arrays"]["y"]) == ("x_train", "y_train")
    assert list(spec["network"]["layers"][0]) == [first]
    assert spec["network"]["layers"][-1] == {"linear": 3}


def test_the_path_starts_at_the_folder_of_the_spec(tmp_path):
    data = csv(tmp_path, rows("a,y", lambda i: f"{i}.5,{i % 2}"))
    starter.write_for(tmp_path / "specs/deep/s.yaml", data)
    assert "    path: ../../my.csv\n" in (tmp_path / "specs/deep/s.yaml").read_text()
    assert load(tmp_path / "specs/deep/s.yaml").data.path.samefile(data)


@pytest.mark.parametrize("name", STARTERS)
def test_a_starter_makes_a_network_and_trains_a_step(tmp_path, name):
    label = "label" if name == "table" else "value"
    csv(tmp_path, rows(f"a,{label}", lambda i: f"{i}.5,{'xyz'[i % 3] if name == 'table' else i + 0.5}"), "data.csv")
    pictures(tmp_path / "pictures")
    starter.write(tmp_path / "s.yaml", name)
    short = ["+train.steps=1", "~train.epochs", "track.mlflow=false", *(["~sweep"] if name == "sweep" else [])]
    assert run(load(tmp_path / "s.yaml", short), tmp_path / "runs").metrics["test/loss"] > 0


@pytest.mark.parametrize("name", ["zoo/gpt2", "mnist1d/gru", "digits/lenet"])
def test_a_copy_of_a_shipped_spec_needs_no_other_file(tmp_path, name):
    starter.write(tmp_path / "mine.yaml", name)
    assert trace_all(load(tmp_path / "mine.yaml")).params == trace_all(load(ROOT / f"specs/{name}.yaml")).params
    assert "defaults" not in (tmp_path / "mine.yaml").read_text()


def test_what_new_cannot_do_is_refused(tmp_path):
    with pytest.raises(DlxError, match="there is no starter and no shipped spec `tabel`\n  Did you mean `table`"):
        starter.write(tmp_path / "s.yaml", "tabel")
    with pytest.raises(DlxError, match=r"`table` is written in YAML\n  Name a \.yaml"):
        starter.write(tmp_path / "s.toml", "table")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(DlxError, match=r"is there already, and stays as it is\n  Name another file\.$"):
        starter.write(tmp_path / "folder.yaml", force=True)


def test_the_command_writes_lists_and_never_overwrites_unasked(tmp_path):
    csv(tmp_path, rows("a,y", lambda i: f"{i}.5,{i % 2}"))
    assert "target: y, 2 classes" in dlx("new", "--data", "my.csv", cwd=tmp_path).stdout
    again = dlx("new", "--data", "my.csv", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    assert (
        "is there already, and stays as it is\n  Name another file, or write over it with `--force`" in again.stderr
    )
    assert dlx("new", "my.yaml", "--force", "--starter", "digits/lenet", cwd=tmp_path).returncode == 0
    assert load(tmp_path / "my.yaml").name == "lenet-digits"
    listed = json.loads(dlx("new", "--list", "--json").stdout)["starters"]
    assert [one["name"] for one in listed] == ["digits", *STARTERS]
    assert "there is no file to write" in dlx("new").stderr


@pytest.mark.parametrize("characters", [400, 40_000])
def test_a_text_gets_a_character_model_that_trains(tmp_path, characters):
    (tmp_path / "t.txt").write_text(("the cat sat on the mat. " * 2000)[:characters])
    notes = starter.write_for(tmp_path / "s.yaml", tmp_path / "t.txt")
    assert notes == (f"each character is predicted from those before it: {characters:,} characters",)
    spec = load(tmp_path / "s.yaml", ["train.steps=2", "track.mlflow=false"])
    assert spec.data is not None
    assert spec.data.carry == (characters > 20_480)
    (result,) = run(spec, tmp_path / "runs").results
    assert result.metrics["test/bits_per_character"] > 0
