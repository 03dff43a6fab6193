"""Notes on texts that are padded or packed, where no layer is told which tokens are their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..errors import Problem

if TYPE_CHECKING:
    from ..data.base import TextFacts
    from ..spec import Experiment
    from .expansion.place import Placer


def unmasked(experiment: Experiment, placer: Placer, texts: Mapping[str, TextFacts]) -> Iterator[Problem]:
    """Yield a note for each text of which a layer takes the tokens, and none its padding, length or documents.

    The input of a decoder is none of them: what stands behind its end is not seen. Nor is a language model's text.
    """
    packed = getattr(experiment.data, "documents", "") == "pack"
    whole = experiment.objective is not None and experiment.objective.kind == "language"
    for name, text in texts.items():
        readers = [node for node in placer.nodes if name in node.inputs and not node.name.startswith(f"{name}.")]
        results = ("document",) if packed else ("padding", "length")
        taken = any(f"{name}.{one}" in node.inputs for node in placer.nodes for one in results)
        if not readers or taken or text.shifted or (whole and not packed):
            continue
        first = readers[0]
        if packed:
            message = f"a window of `{name}` has several documents, and no layer takes `{name}.document`"
            hint = f"Write `from: {{query: prev, document: {name}.document}}` at attention, `from: {{input: prev, "
            hint += f"document: {name}.document}}` at recurrent layers: else they see those before it."
        else:
            message = f"texts of `{name}` end in padding, and no layer takes `{name}.padding` or `{name}.length`"
            hint = f"Write `from: {{query: prev, key_padding_mask: {name}.padding}}` at attention, `lengths: "
            hint += f"{name}.length` at recurrent layers, `padding: {name}.padding` at `mean`, `sum` and `max`."
        yield Problem(message, hint, first.mark, f"{placer.path}.{first.name}")
