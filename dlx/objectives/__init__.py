"""What a network is asked to do: one file an objective, found by the registry."""

from ..data import Facts
from .base import OBJECTIVES, Objective


def implied(facts: Facts) -> Objective:
    """What a spec asks for that names no objective: classes want classification, or segmentation where each position
    has one; numbers want regression.
    """
    of_classes = "segmentation" if facts.target is not None else "classification"
    kind = of_classes if facts.classes is not None else "regression"
    return OBJECTIVES[kind].model_validate({})


__all__ = ["OBJECTIVES", "Objective", "implied"]
