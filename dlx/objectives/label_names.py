"""Names of the labels of an objective."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def _different(labels: list[str]) -> list[str]:
    if twice := next((one for one in labels if labels.count(one) > 1), None):
        raise ValueError(f"the label {twice} is there twice")
    return labels


LabelNames = Annotated[list[str], AfterValidator(_different)]
"""Names that differ, in the order of the labels."""
