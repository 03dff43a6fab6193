"""Several inputs and targets, weights and ids of a table: which column is which field, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlx.data.tables.table import Table
from dlx.errors import DataError

N = 12
ROWS = [
    "house,area,rooms,town,Sale Price,sold,trust",
    *(
        f"h{i},{50 + 10 * i},{i % 4},{'abc'[i % 3]},{100 + i},{'yes' if i % 2 else 'no'},{1 + i % 2}"
        for i in range(N)
    ),
]
COLUMNS = {"size": ["area", "rooms"], "place": {"columns": ["town", "rooms"], "is": "integers"}}
TOLD = {"sold": "classes", "price": {"column": "Sale Price", "is": "values"}}


def table(folder: Path, **fields: object) -> Table:
    (folder / "h.csv").write_text("\n".join(ROWS) + "\n")
    return Table.model_validate({"path": folder / "h.csv", **fields})


def test_columns_become_fields(tmp_path):
    source = table(tmp_path, inputs=COLUMNS, targets=TOLD, weights="trust", ids="house", test=0.25, split="order")
    facts = source.facts()
    found = {name: (tuple(f.shape), f.shape.dtype, f.role, f.classes, f.names) for name, f in facts.fields.items()}
    assert found == {
        "size": ((2,), "float", "input", None, ()),
        "sold": ((), "int", "target", 2, ("no", "yes")),
        "place": ((2,), "int", "input", 4, ()),
        "price": ((1,), "float", "target", None, ()),
        "weight": ((), "float", "weight", None, ()),
        "id": ((), "int", "id", None, ()),
    }
    train = source.load().train
    assert train.x.tolist() == [[50 + 10 * i, i % 4] for i in range(9)]
    assert train.more["place"].tolist() == [[i % 3, i % 4] for i in range(9)]
    assert train.more["price"].tolist() == [[100 + i] for i in range(9)]
    assert train.more["weight"].tolist() == [1 + i % 2 for i in range(9)]
    assert train.more["id"].tolist() == [f"h{i}" for i in range(9)]
    assert train.y.tolist() == [i % 2 for i in range(9)]
    uses = {use.name: use.taken_for for use in facts.columns}
    assert [uses[name] for name in ("house", "trust", "Sale Price")] == ["id", "weight", "target `price`, values"]


def test_a_column_of_weights_and_of_ids_is_no_input(tmp_path):
    sets = table(tmp_path, target="sold", weights="trust", ids="house", drop=["town", "Sale Price"]).load()
    assert sets.train.x.shape == (N, 2)
    assert sets.named("input") == ("input",)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "`target` names no column to learn"),
        ({"target": "sold", "targets": TOLD}, "`target` and `targets` both name what is learned"),
        ({"targets": TOLD, "task": "regression"}, "`task` is of one `target`"),
        ({"targets": {"Sale Price": "values"}}, 'Write `targets: {NAME: {column: "Sale Price", is: values}}`'),
        (
            {"target": "sold", "ids": "house", "columns": ["house", "area"]},
            "`ids` names the examples by `house`, and it",
        ),
        ({"target": "sold", "columns": ["area"], "inputs": COLUMNS}, "`columns` and `inputs` both choose"),
    ],
)
def test_fields_of_a_table_that_contradict_each_other_are_refused(tmp_path, fields, sentence):
    with pytest.raises(ValueError, match=r"validation error") as error:
        table(tmp_path, **fields)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"targets": {"sold": "values"}},
            "column `sold` of h.csv holds texts, and targets of values hold numbers",
        ),
        ({"targets": {"price": {"column": "Sale Prize"}}}, "h.csv has no column `Sale Prize`"),
        ({"targets": TOLD, "inputs": {"a": ["area", "sold"]}}, "`sold` is both input and target"),
        ({"targets": TOLD, "weights": "town"}, "column `town` of h.csv"),
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path, fields, sentence):
    with pytest.raises(DataError) as error:
        table(tmp_path, **fields).load()
    assert sentence in str(error.value).replace(f"{tmp_path}/", "")
