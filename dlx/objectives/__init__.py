"""What a network is asked to do: one file an objective, found by the registry."""

from ..data import Facts
from .base import OBJECTIVES, Call, Caller, Objective, Phase, Ports
from .supervised import Supervised


def default_objective(facts: Facts) -> Supervised:
    """What a spec asks for that names no objective: classes want classification, or segmentation where each position
    has one; numbers want regression.
    """
    of_classes = "segmentation" if facts.target is not None else "classification"
    kind = of_classes if facts.classes is not None else "regression"
    made = OBJECTIVES[kind].model_validate({})
    assert isinstance(made, Supervised)
    return made


__all__ = ["OBJECTIVES", "Call", "Caller", "Objective", "Phase", "Ports", "Supervised", "default_objective"]
