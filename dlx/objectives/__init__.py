"""Objectives: the task that networks are trained for. One file per objective, found by the registry."""

from ..data import Facts
from .base import OBJECTIVES, Call, Caller, Objective, Phase, Ports, Sheet
from .supervised import Supervised


def default_objective(facts: Facts) -> Supervised:
    """Return the objective for a spec that names none.

    Classes give classification, or segmentation where each position has a class; values give regression, those
    of series forecast, and those that are labels multilabel; a text gives language, and one that an input is
    shifted from translation.
    """
    of_classes = "segmentation" if facts.target is not None else "classification"
    series = any(one.role == "scale" for one in facts.fields.values())
    kind = of_classes if facts.classes is not None else "forecast" if series else "regression"
    kind = "multilabel" if facts.labels else kind
    kind = "translation" if any(text.shifted for text in facts.texts.values()) else kind
    kind = "language" if facts.vocabulary is not None and _tells_tokens(facts) else kind
    made = OBJECTIVES[kind].model_validate({})
    assert isinstance(made, Supervised)
    return made


def _tells_tokens(facts: Facts) -> bool:
    """Whether the target of each token is one of the same vocabulary, and no text of its own or class."""
    own = facts.target is not None and facts.classes == facts.vocabulary and facts.target_name not in facts.texts
    return own or not facts.texts


__all__ = ["OBJECTIVES", "Call", "Caller", "Objective", "Phase", "Ports", "Sheet", "Supervised", "default_objective"]
