"""Printed tables, letter by letter: what `dlx inspect` writes into a pipe.

After a change that is meant, write them anew and read the difference:
DLX_WRITE_GOLDEN=1 python -m pytest tests/golden && git diff tests/golden
"""

import os
from pathlib import Path

import pytest
from commands import dlx

HERE = Path(__file__).parent

TABLES = {
    "lenet": ["specs/digits/lenet.yaml"],
    "lenet-batch-32": ["specs/digits/lenet.yaml", "--batch", "32"],
    "mnist1d-conv": ["specs/udl/mnist1d-conv.yaml"],
    "resnet50-depth-1": ["specs/cs231n/resnet50.yaml", "--depth", "1"],
}


@pytest.mark.parametrize("name", TABLES)
def test_inspect_prints_the_same_table(name):
    ran = dlx("inspect", *TABLES[name], check=True, env={**os.environ, "COLUMNS": "60"})
    golden = HERE / f"{name}.txt"
    if os.environ.get("DLX_WRITE_GOLDEN"):
        golden.write_text(ran.stdout)

    assert ran.stdout == golden.read_text()
