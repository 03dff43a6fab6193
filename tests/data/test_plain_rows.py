"""Small CSV files of plain numbers and words: their facts without pyarrow are those that pyarrow finds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dlx.data.base import Facts
from dlx.data.tables.cells import MISSING, MISSING_NUMBERS
from dlx.data.tables.plain_rows import LARGEST, plain_facts
from dlx.data.tables.table import Table
from dlx.errors import DataError

HOUSES = "rooms,area,city,price\n3,70.5,Rome,210\n4,95,Oslo,350\n2,-45,Rome,150\n5,0.25,New-Bern,520\n"
SPEC = """\
data: {table: {path: houses.csv, target: price, valid: 0.25}}
network: {layers: [{linear: 8}, relu, {linear: 1}]}
objective: regression
train: {epochs: 3, optimizer: {adam: 1e-2}}
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("plain") / "t.csv"


def of(path: Path, text: str, **options) -> Table:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return Table.model_validate({"path": path, "target": "y", **options})


def known(find: Callable[[], Facts | None]) -> object:
    """Return facts with the field of each column, which is no part of their comparison, or the errors instead."""
    try:
        facts = find()
    except DataError as error:
        return error.problems
    return facts and (facts, [one.of_field for one in facts.columns])


def is_plain(table: Table) -> bool:
    """Whether facts are found without pyarrow; they, or the error, are those that are found with it."""
    found, expected = known(lambda: plain_facts(table)), known(lambda: table._facts_of_frames()[0])
    assert found is None or found == expected
    return found is not None


# --- any table ------------------------------------------------------------------------------------------------------

INTEGERS = st.integers(-(10**20), 10**20).map(str) | st.integers(-9, 99).map(str)
DECIMALS = st.floats(-1e6, 1e6).map(repr) | st.decimals(-999, 999, places=2).map(str)
WORDS = st.sampled_from(
    ["Rome", "rome", "Oslo", "a", "A", "New-York", "a_b", "e", "E", "T", "y", "No", "yes", "x" * 70]
)
MARKS = st.sampled_from(
    [*MISSING, *MISSING_NUMBERS, "Inf", "-inf", "Infinity", "inf", "true", "True", "TRUE", "false", "tRUE"]
)
NUMBERS_WRITTEN = st.sampled_from(
    ["1e5", "1E-3", "0x1F", "007", "00", "0", "-0", "+1", "1.", ".5", "1_000", "1,5", '"1,5"', "12345678", "1.000001"]
)
DATES = st.sampled_from(
    [
        "2024-01-31",
        "2024-01-31T10:00:00Z",
        "2024-01-31 10:00:00+02:00",
        "10:00",
        "10:00:30.5",
        "31.01.2024",
        "Jan 5 2020",
    ]
)
ODD = st.sampled_from(["", " ", " 1", "1 ", "é", "中", '"a"', '"a\nb"', '"a""b"', "'a'", "a\tb", "\x00", "\udcff"])
CELLS = [INTEGERS, DECIMALS, WORDS, MARKS, NUMBERS_WRITTEN, DATES, ODD]
COLUMNS = st.sampled_from(
    [*CELLS, INTEGERS | DECIMALS, INTEGERS | MARKS, WORDS | MARKS, WORDS | ODD, WORDS | INTEGERS]
)
NAMES = st.sampled_from(
    ["a", "b", "c", "A", "nan", "inf", "1", "Unnamed: 0", "__index_level_0__", "", "é", "a b", "true"]
)
PARTS = st.sampled_from([{}, {"valid": 0.25}, {"valid": 2}, {"test": 0.01}, {"folds": 2, "fold": 1}, {"train": 90}])
OPTIONS = st.sampled_from([{}, {}, {"standardize": "feature"}, {"task": "classification"}, {"drop": ["a"]}])


@st.composite
def tables(draw):
    names = draw(st.lists(NAMES, min_size=0, max_size=3, unique=draw(st.booleans())))
    names.insert(draw(st.integers(0, len(names))), "y")
    count, columns = draw(st.integers(0, 14)), [draw(COLUMNS) for _ in names]
    rows = [[draw(column) for column in columns] for _ in range(count)]
    end = draw(st.sampled_from(["\n", "\n", "\n", "\r\n"]))
    last = draw(st.sampled_from(["", end, end, end, end * 2]))
    mark = draw(st.sampled_from(["", "", "", "\ufeff"]))
    return mark + end.join(map(",".join, [names, *rows])) + last, draw(PARTS) | draw(OPTIONS)


ROUNDS = int(os.environ.get("DLX_FUZZ", "150"))
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@settings(CALM, max_examples=ROUNDS)
@given(made=tables())
def test_facts_without_pyarrow_are_those_with_it(path, made):
    is_plain(of(path, made[0], **made[1]))


PLAIN = st.sampled_from(
    [
        st.integers(-999_999, 999_999).map(str),
        st.decimals(-9, 9, places=3).map(lambda one: f"{one:.3f}"),
        st.sampled_from(["Rome", "Oslo", "New-York", "Bern", "e", "yes"]),
    ]
)


@settings(CALM, max_examples=ROUNDS // 3)
@given(data=st.data(), part=PARTS)
def test_facts_of_what_is_plain_are_found_without_pyarrow(path, data, part):
    columns = [data.draw(PLAIN) for _ in range(3)]
    rows = [[data.draw(column) for column in columns] for _ in range(data.draw(st.integers(1, 12)))]
    is_plain(of(path, "\n".join(map(",".join, [["a", "y", "b"], *rows])), **part))


# --- which they are -------------------------------------------------------------------------------------------------


def test_numbers_and_words_are_plain(path):
    assert is_plain(of(path, HOUSES, target="price"))
    assert is_plain(of(path, HOUSES, target="city", valid=0.25, standardize="feature"))
    assert is_plain(of(path, HOUSES.removesuffix("\n"), target="area", folds=2, fold=1))


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("Oslo", ""),
        ("Oslo", "NA"),
        ("4,95,Oslo", "4,95,rome"),
        ("Oslo", "Rome "),
        ("Oslo", '"Rome"'),
        ("70.5", "7e5"),
        ("70.5", "007"),
        ("70.5", "16777217"),
        ("70.5", "inf"),
        ("Oslo", "true"),
        ("city", "rooms"),
        ("city", "nan"),
        ("2,-45,Rome,150", "2,-45,Rome"),
        ("2,-45,Rome,150", ""),
        ("\n", "\r\n"),
        ("rooms", "\ufeffrooms"),
    ],
)
def test_anything_else_is_not(path, text, other):
    assert not is_plain(of(path, HOUSES.replace(text, other, 1), target="price"))


def test_labels_many_words_and_large_files_are_not(path):
    assert not is_plain(of(path, "a,y\n" + "1,0\n2,1\n" * 4))
    assert not is_plain(of(path, "a,y\n" + "".join(f"{chr(97 + i)},{i}\n" for i in range(11))))
    assert is_plain(of(path, "a,y\n" + "".join(f"{chr(97 + i)},{i}\n" for i in range(10))))
    many = "a,y\n" + "12345,6\n" * (LARGEST // 8)
    assert not is_plain(of(path, many))
    assert is_plain(of(path, many[: -8 * 8]))


@pytest.mark.parametrize("options", [{"task": "classification"}, {"drop": ["rooms"]}, {"stratify": True}])
def test_tables_with_more_options_are_read_as_any_other(path, options):
    assert plain_facts(of(path, HOUSES, target="city", **options)) is None


def test_a_file_that_is_not_there_or_no_file_is_told_as_ever(tmp_path):
    for place in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError):
            Table.model_validate({"path": place, "target": "y"}).facts()


def test_a_plain_table_is_inspected_for_the_first_time_without_numpy_and_pyarrow(tmp_path):
    (tmp_path / "houses.csv").write_text(HOUSES)
    (tmp_path / "s.yaml").write_text(SPEC)
    script = (
        "import sys; from dlx.__main__ import run\nsys.argv = ['dlx', 'inspect', 's.yaml']\n"
        "try: run()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    environment = os.environ | {"DLX_CACHE": str(tmp_path / "cache")}
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "3 texts, `New-Bern`, `Oslo` and `Rome`" in found.stdout
    assert not {"numpy", "pyarrow"} & set(found.stderr.split())
