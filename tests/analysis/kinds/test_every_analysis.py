"""What holds for every kind of analysis: its words, its light import, finite figures, whole pictures, equal calls."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dlx.analysis import analyze
from dlx.spec.analyses import ANALYSES

KINDS = sorted(kind for kind in ANALYSES if ANALYSES[kind].__module__.startswith("dlx."))
PAGE = (Path(__file__).parents[3] / "docs" / "analyses.md").read_text()
HEAVY = ("torch", "numpy", "scipy", "sklearn", "matplotlib", "pandas", "mlflow", "captum")
ROOMS = ("dlx.experiment", "dlx.training", "dlx.trained", "dlx.network", "dlx.analysis.subject")
"""Rooms that a kind asks its subject for: a spec that names the kind is inspected without them."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_says_where_it_is_from_and_how_it_is_asked_for(kind):
    cls = ANALYSES[kind]

    assert re.search(r"\d", cls.source), f"{kind}: `source` names no section, figure or year"
    assert cls.example.startswith(f"dlx analyze {kind} "), f"{kind}: `example` is no command of it"
    assert len((cls.__doc__ or "").strip().splitlines()) > 2, f"{kind}: what it computes, and what the book says"
    assert f"\n### {kind}\n" in PAGE, f"docs/analyses.md has no heading for {kind}"


def test_kinds_are_named_in_a_spec_without_torch_and_without_a_training():
    script = (
        "import sys; from dlx.spec.analyses import ANALYSES; ANALYSES.load();"
        f"print(*sorted(m for m in sys.modules if m in {HEAVY!r} or m in {ROOMS!r}))"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert printed.split() == [], "imported where a kind is declared: import it inside `run`, or by dlx.lazy"


@pytest.mark.parametrize("kind", KINDS)
def test_options_have_defaults_or_the_example_sets_them(kind):
    words = re.findall(r"--set '?([\w.]+)=", ANALYSES[kind].example)
    required = {name for name, info in ANALYSES[kind].model_fields.items() if info.is_required()}

    assert required <= set(words)
    if not required:
        assert analyze.with_options(kind).weights is None
