"""Which tests a process of `make test` takes at once: a file, whose tests share what takes long to make."""

from __future__ import annotations

SPREAD = frozenset(
    {
        *("tests/experiment/test_runner.py", "tests/graph/test_memory_forecast.py", "tests/layers/test_fuzz.py"),
        *("tests/sweeps/test_gpus.py", "tests/sweeps/test_workers.py"),
        *("tests/test_hostile_input.py", "tests/test_kinds.py", "tests/test_zoo.py"),
        *("tests/trained/test_prove_resume.py", "tests/training/test_packed.py", "tests/training/test_pruning.py"),
    }
)
"""Files of long tests that share nothing: one by one, after the files, so that no process waits at the end."""


def unit_of(nodeid: str) -> str:
    """The name of what a test is taken with: its file, or itself alone."""
    file = nodeid.partition("::")[0]
    return nodeid if file in SPREAD else file
