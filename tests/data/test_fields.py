"""Several inputs and targets, weights and ids: which array is which field, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dlx.data import input_record
from dlx.data.arrays.arrays import Arrays
from dlx.data.arrays.fields import InputArray, TargetArray
from dlx.data.preprocess import EarlierFit, using_earlier_fit
from dlx.errors import DataError, SpecError
from dlx.graph import trace
from dlx.spec import load
from dlx.training.batches.on_device import on_device

N = 12
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 255, (N, 1, 4, 4), dtype=np.uint8)
TOWN = RNG.integers(0, 5, (N, 2)).astype(np.int8)
AREA = RNG.normal(100, 30, (N, 3)).astype(np.float32)
SOLD = np.arange(N) % 2
MAP = RNG.integers(0, 3, (N, 4, 4)).astype(np.uint8)
ARRAYS = {
    "image": IMAGE,
    "town": TOWN,
    "area": AREA,
    "sold": SOLD,
    "map": MAP,
    "price": AREA[:, 0] * 2,
    "w": np.where(SOLD, 2.0, 1.0),
    "name": np.array([f"h{i}" for i in range(N)]),
}


def arrays(folder: Path, more: dict[str, np.ndarray] | None = None, **fields: object) -> Arrays:
    np.savez(folder / "a.npz", **(ARRAYS | (more or {})))
    return Arrays.model_validate({"path": folder / "a.npz", **fields})


INPUTS = {"area": "area", "place": "town", "image": "image"}
TARGETS = {"sold": "sold", "price": "price"}


def test_arrays_become_fields_of_their_own_types(tmp_path):
    source = arrays(tmp_path, inputs=INPUTS, targets=TARGETS | {"kind": "map"}, weights="w", ids="name", test=0.25)
    facts = source.facts()
    # the picture comes first: augmentations change it
    assert list(facts.fields) == ["image", "sold", "area", "place", "price", "kind", "weight", "id"]
    found = {name: (tuple(f.shape), f.shape.dtype, f.role, f.classes) for name, f in facts.fields.items()}
    assert found["image"] == ((1, 4, 4), "float", "input", None)
    assert found["place"] == ((2,), "int", "input", None)
    assert found["sold"] == ((), "int", "target", 2)
    assert found["price"] == ((1,), "float", "target", None)
    assert found["kind"] == ((4, 4), "int", "target", 3)
    sets = source.load()
    train, rows = sets.train, sets.train.rows
    assert train.x.tolist() == (IMAGE[rows] / np.float32(255)).tolist()
    assert (train.more["place"].dtype, train.more["kind"].dtype) == (np.int8, np.int64)
    assert train.more["place"].tolist() == TOWN[rows].tolist()
    assert train.more["weight"].tolist() == np.where(SOLD[rows], 2.0, 1.0).tolist()
    assert train.more["id"].tolist() == [f"h{i}" for i in rows]
    assert len(sets.test) == 3


def test_ids_stay_on_the_host_and_a_batch_has_the_rest(tmp_path):
    sets = arrays(tmp_path, inputs=INPUTS, targets=TARGETS, weights="w", ids="name").load()
    part = on_device(sets, torch.device("cpu"), ("place", "image", "area"))["train"]
    batch = part.take(torch.tensor([3, 1]))
    assert [tuple(x.shape) for x in batch.inputs] == [(2, 2), (2, 1, 4, 4), (2, 3)]
    assert set(batch.fields) == {"image", "sold", "area", "place", "price", "weight"}
    assert batch.y.tolist() == sets.train.y[[3, 1]].tolist()
    assert batch["price"].tolist() == sets.train.more["price"][[3, 1]].tolist()
    assert torch.cat([one["area"] for one in part.chunks(5)]).tolist() == sets.train.more["area"].tolist()


def test_parts_with_arrays_of_their_own_and_files_of_their_own(tmp_path):
    held = {f"test_{name}": array[:4] for name, array in ARRAYS.items() if name in ("area", "sold")}
    sets = arrays(tmp_path, held, inputs={"area": "area"}, targets={"sold": "sold"}).load()
    assert (len(sets.train), len(sets.test), sets.valid) == (N, 4, None)
    np.save(tmp_path / "area.npy", AREA)
    np.save(tmp_path / "sold.npy", SOLD)
    np.save(tmp_path / "valid_area.npy", AREA[:2])
    np.save(tmp_path / "valid_sold.npy", SOLD[:2])
    folder = Arrays(
        path=tmp_path,
        split="order",
        inputs={"area": InputArray(array="area")},
        targets={"s": TargetArray(array="sold.npy")},
    )
    assert (folder.load().train.x.tolist(), len(folder.load().valid)) == (AREA.tolist(), 2)
    (tmp_path / "valid_sold.npy").unlink()
    with pytest.raises(DataError) as error:
        folder.facts()
    assert "has the part `valid` of `area`, and lacks `valid_sold.npy`" in str(error.value)


def test_each_input_of_values_is_standardised_by_itself_and_integers_are_not(tmp_path):
    source = arrays(tmp_path, inputs=INPUTS, targets={"sold": "sold"}, standardize="feature")
    sets = source.load()
    area = sets.train.more["area"]
    assert np.allclose(area.mean(0), 0, atol=1e-5)
    assert np.allclose(area.std(0), 1, atol=1e-5)
    assert sorted(sets.train.more["place"].reshape(-1).tolist()) == sorted(TOWN.reshape(-1).tolist())
    known = input_record.of(source, sets, {}, ("area", "place", "image"))
    input_record.save(tmp_path, known)
    again = input_record.load(tmp_path)
    assert again.taken == ("area", "place", "image")
    assert [list(again.raw_more), again.facts.fields == source.facts().fields] == [["area", "place"], True]
    given = again.all_prepared(source.new_inputs(tmp_path / "a.npz", again))
    order = sets.train.rows
    assert np.allclose(given[0][order], area, atol=1e-6)
    assert given[1].dtype == np.int8
    # other data goes through the steps that were fitted to this
    earlier = EarlierFit("run", again.raw, again.steps, {}, (), again.raw_more, again.steps_more)
    with using_earlier_fit(earlier):
        moved = arrays(tmp_path, {"area": AREA + 7}, inputs=INPUTS, targets={"sold": "sold"}, standardize="feature")
        shift = moved.load().train.more["area"] - area
    assert np.allclose(shift, 7 / AREA.astype(np.float64).std(0), atol=1e-4)


@pytest.mark.parametrize(
    ("more", "fields", "sentence"),
    [
        ({"area": AREA[:9]}, {}, "`town` of a.npz holds 12 examples, and `area` of a.npz 9"),
        ({"w": -ARRAYS["w"]}, {"weights": "w"}, "`w` of a.npz holds the weight -2, and weights are 0 or more"),
        ({"w": 0 * ARRAYS["w"]}, {"weights": "w"}, "`w` of a.npz holds zeros alone: no example would count"),
        ({}, {"weights": "area"}, "`area` of a.npz has the shape (12, 3), and weights are one number an example"),
        ({}, {"ids": "nome"}, "a.npz has no array `nome`"),
        (
            {"map": np.where(np.arange(N)[:, None, None] == 5, -100, MAP.astype(int))},
            {"targets": {"map": "map"}},
            "`map` of a.npz hides all positions of 1 example, such as number 5",
        ),
        (
            {},
            {"targets": {"map": {"array": "map", "classes": 2}}},
            "`map` of a.npz holds the class 2, and `classes` says 2: 0 to 1",
        ),
        (
            {},
            {"inputs": {"area": {"array": "area", "is": "integers"}}},
            "`area` of a.npz holds float32, and the field `area` is integers",
        ),
        ({}, {"targets": {"price": {"array": "area", "is": "classes"}}}, "and classes are whole numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, more, fields, sentence):
    source = arrays(tmp_path, more, **({"inputs": INPUTS, "targets": TARGETS} | fields))
    with pytest.raises(DataError) as error:
        source.load()
    assert sentence in str(error.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"inputs": {"a b": "area"}}, "a field cannot be called `a b`: letters, digits and `_`"),
        ({"inputs": {"sold": "area"}}, "two fields are called `sold`: give each a name of its own"),
        ({"x": "area"}, "`x` is of one input and one target, and here fields have names: `inputs` says it"),
        ({"task": "regression"}, "`task` is of one input and one target"),
        ({"targets": {"p": {"array": "price", "is": "values", "classes": 3}}}, "`is: values` has none"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(tmp_path, fields, sentence):
    with pytest.raises(ValueError, match=r"validation error") as error:
        arrays(tmp_path, **({"inputs": INPUTS, "targets": TARGETS} | fields))
    assert sentence in str(error.value)


# --- a network and an objective against the fields ------------------------------------------------------------------


def refusals(
    folder: Path, inputs: str = "", objective: str = "{classification: {field: sold}}", layers: str = ""
) -> list[str]:
    arrays(folder)
    (folder / "s.yaml").write_text(
        "data:\n  arrays:\n    path: a.npz\n    inputs:\n      area: area\n      place: town\n"
        "    targets:\n      sold: sold\n      price: price\n"
        f"network:\n  inputs: {inputs or '{area: [3], place: {field: place}}'}\n"
        f"  layers: {layers or '[{to_float: , from: place}, {concat: , from: [area, to_float_1]}, {linear: 2}]'}\n"
        f"objective: {objective}\n"
    )
    try:
        trace(load(folder / "s.yaml"))
    except SpecError as error:
        return [f"{p.mark.line}:{p.mark.column} {p.message}".replace(f"{folder}/", "") for p in error.problems]
    return []


def test_inputs_and_fields_that_fit_are_no_problem(tmp_path):
    assert refusals(tmp_path) == []


@pytest.mark.parametrize(
    ("inputs", "sentences"),
    [
        ("{area: [3]}", ["6:7 no input of the network takes the field `place`: it has `area` (s.yaml:11:3)"]),
        (
            "{area: [3], place: {field: place}, town: [2]}",
            ["11:46 no field of the data fills the input `town`: it has `area` and `place` (s.yaml:1:1)"],
        ),
        (
            "{area: [4], place: [2]}",
            [
                "11:12 `inputs` says (4,) for `area`, and the data gives (3,) as `area`",
                "11:23 `inputs` says float for `place`, and the data gives ints as `place`",
            ],
        ),
        (
            "{area: [3], place: {field: plaice}}",
            ["11:31 the input `place` takes the field `plaice`, and the data has the inputs `area` and `place`"],
        ),
    ],
)
def test_inputs_and_fields_that_do_not_fit_are_told_with_both_lines(tmp_path, inputs, sentences):
    assert refusals(tmp_path, inputs)[: len(sentences)] == sentences


@pytest.mark.parametrize(
    ("objective", "sentence"),
    [
        ("classification", "9:7 no output learns the target `price`: classification learns `sold` (s.yaml:13:1)"),
        (
            "{classification: {field: sole}}",
            "13:30 classification learns the field `sole`, and the data has the targets `sold` and `price`",
        ),
        (
            "{classification: {field: price}}",
            "13:30 classification learns classes, and `price` holds values; `sold` holds classes (s.yaml:1:1)",
        ),
    ],
)
def test_a_target_that_nothing_learns_and_a_field_that_is_not_there(tmp_path, objective, sentence):
    assert refusals(tmp_path, objective=objective) == [sentence]
