"""The base class of answers to new inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


class Answers(ABC):
    """An answer for each input."""

    labels: tuple[str, ...]
    """Names of the classes, values or joints."""
    several_rows: ClassVar[bool] = False
    """Whether an input may have another number of rows than one."""

    @property
    @abstractmethod
    def arrays(self) -> dict[str, Array]:
        """The arrays by name."""

    @property
    def titles(self) -> list[str] | None:
        """Titles of the columns of a table; None where an answer has several positions, which are no row."""
        return None

    def rows(self, i: int) -> list[list[Any]]:
        """Return the rows of the answer to input `i`: one, or one for each box or joint."""
        raise TypeError(f"{type(self).__name__} are no rows")

    @abstractmethod
    def as_json(self, i: int) -> dict[str, Any]:
        """Return the answer to input `i` as JSON values."""

    @abstractmethod
    def __len__(self) -> int: ...
