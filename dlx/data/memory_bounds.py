"""Bounds on what data sets hold: a size that memory has no room for is an error in a sentence, before it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import DataError
from ..shapes import bytes_text

if TYPE_CHECKING:
    from .base import Dataset

T = TypeVar("T")
TOO_LARGE = ("array is too big", "array is too large", "Maximum allowed size", "Maximum allowed dimension")
"""What numpy says of arrays whose bytes no address counts, in a ValueError."""


def guarded(method: Callable[[Any], T]) -> Callable[[Any], T]:
    """Return `facts` or `load` of a data set with a DataError where memory does not hold what it makes."""

    @wraps(method)
    def within_memory(self: Dataset) -> T:
        try:
            if method.__name__ == "load":
                check_examples(self)
            return method(self)
        except (MemoryError, OverflowError) as error:
            raise _too_large(self, error) from error
        except ValueError as error:
            if not str(error).startswith(TOO_LARGE):
                raise
            raise _too_large(self, error) from error

    return within_memory


def check_examples(source: Dataset) -> None:
    """Raise a DataError where the examples of generated data do not fit into the free memory while they are drawn.

    Where memory is lent beyond what there is, as on Linux, the process would be killed later, without a word.
    """
    # other data has as many examples as its files, whatever `train` says
    if not type(source).__module__.startswith(f"{__package__}.generated."):
        return
    counts = [getattr(source, part, None) for part in ("train", "valid", "test")]
    examples = sum(count for count in counts if type(count) is int)
    values = sum(one.shape.count for one in source.facts().fields.values())
    needed, free = type(source).bytes_per_value * examples * values, _free()
    if needed > free:
        message = f"{examples:,} examples of {values:,} values take {bytes_text(needed)} while they are drawn"
        raise DataError(f"{message}, and {bytes_text(free)} are free", hint=_smaller(source))


def _too_large(source: Dataset, error: BaseException) -> DataError:
    reason = str(error).partition("; ")[0].rstrip(".") or "an allocation was refused"
    kind, reason = type(source).kind, reason[:1].lower() + reason[1:]
    message = f"the data `{kind}` does not fit into memory: {reason}, and {bytes_text(_free())} are free"
    return DataError(message, hint=_smaller(source))


def _smaller(source: Dataset) -> str:
    """Return the way out: the largest sizes that the spec has set."""
    sizes = sorted(_sizes(source), key=lambda pair: -pair[1])[:3]
    if not sizes:
        return "Free some memory, or take a part of the data."
    return f"Make it smaller: {', '.join(f'`{name}` is {size:,}' for name, size in sizes)}."


def _sizes(source: Dataset) -> Iterator[tuple[str, int]]:
    """Yield the whole numbers of a data set's fields, of lists the largest, apart from seeds."""
    for name in type(source).model_fields:
        value = getattr(source, name)
        whole = [one for one in (value if isinstance(value, list | tuple) else [value]) if type(one) is int]
        if whole and not name.endswith("seed") and max(whole) > 1:
            yield name, max(whole)


def _free() -> int:
    import psutil

    return int(psutil.virtual_memory().available)
