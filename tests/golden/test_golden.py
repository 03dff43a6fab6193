"""Printed tables, letter by letter: what `dlx inspect` writes into a pipe.

After a change that is meant, write them anew and read the difference:
DLX_WRITE_GOLDEN=1 python -m pytest tests/golden && git diff tests/golden
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

TABLES = {
    "lenet": ["specs/digits/lenet.yaml"],
    "lenet-batch-32": ["specs/digits/lenet.yaml", "--batch", "32"],
    "mnist1d-conv": ["specs/udl/mnist1d-conv.yaml"],
    "resnet50-depth-1": ["specs/cs231n/resnet50.yaml", "--depth", "1"],
}


@pytest.mark.parametrize("name", TABLES)
def test_inspect_prints_the_same_table(name):
    command = [sys.executable, "-m", "dlx", "inspect", *TABLES[name]]
    ran = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "60"}
    )
    golden = HERE / f"{name}.txt"
    if os.environ.get("DLX_WRITE_GOLDEN"):
        golden.write_text(ran.stdout)

    assert ran.stdout == golden.read_text()
