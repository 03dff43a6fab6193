"""What objectives share in which a network `student` learns from a network `teacher`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..data.base import Field
from ..errors import DlxError
from ..shapes import Shape
from .base import Call, Objective, Phase, Ports
from .classification import Classification

TEACHER, STUDENT = "teacher", "student"


class OfTeacher(Objective):
    """Base class: one phase that moves the student, on data with one input and one class an example."""

    def phases(self) -> Sequence[Phase]:
        return (Phase(STUDENT, (STUDENT,), ("input", "target")),)

    def needs(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Sequence[Call]:
        inputs = [name for name, one in fields.items() if one.role == "input"]
        if len(inputs) != 1:
            raise DlxError(f"{self.kind} takes data with one input, and there are {', '.join(inputs)}")
        if any(one.role == "weight" for one in fields.values()):
            raise DlxError(f"{self.kind} weighs all examples alike, and the data has weights", hint="Leave them out.")
        self._classes(fields)
        calls = []
        for name in (TEACHER, STUDENT):
            if len(networks[name].inputs) != 1 or len(networks[name].outputs) != 1:
                raise DlxError(f"{self.kind} takes networks with one input and one output, and `{name}` has more")
            calls.append(Call(name, dict.fromkeys(networks[name].inputs, inputs[0]), gradient=name == STUDENT))
        return calls

    def output_shapes(self, fields: Mapping[str, Field]) -> Mapping[str, Shape]:
        return dict.fromkeys((STUDENT, TEACHER), Shape((self._classes(fields),)))

    def _classes(self, fields: Mapping[str, Field]) -> int:
        """Return the number of classes of the one target. DlxError where it is another kind of target."""
        target = fields.get("target")
        if target is None or target.classes is None or tuple(target.shape):
            raise DlxError(f"{self.kind} learns one class an example, and the data has other targets")
        return target.classes

    def answering(self) -> tuple[str, Objective]:
        return STUDENT, Classification()
