"""Parts and folds of examples by what is known of each: the part that it is in, or the group that it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import DataError, did_you_mean, plural
from ..lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    Indices = npt.NDArray[np.int64]

PARTS = ("train", "valid", "test")
WORDS = {"training": "train", "validation": "valid", "val": "valid", "dev": "valid", "testing": "test"}
"""Other words for the parts."""


def named_parts(words: Sequence[str], codes: Indices, where: str) -> list[Indices]:
    """Return the examples of train, valid and test, where `codes` are places in `words`, which name the parts.

    Raises:
        DataError: a word names no part, or no example is in the training part.
    """
    named = [WORDS.get(word.strip().lower(), word.strip().lower()) for word in words]
    for code, name in enumerate(named):
        if name not in PARTS:
            row = int((codes == code).argmax())
            raise DataError(
                f"row {row + 1:,} of {where} holds `{words[code]}`, and `split` takes the part of each row from it",
                hint=_part_like(name),
            )
    number = np.array([PARTS.index(name) for name in named], np.int64)[codes]
    parts = [np.flatnonzero(number == part) for part in range(3)]
    if not len(parts[0]):
        raise DataError(f"{where} has no row of `train`, and `split` takes the parts from it", hint="Name some.")
    return parts


def _part_like(name: str) -> str:
    """Return the hint at the names of parts, those that are alike first."""
    near = did_you_mean(name, [*PARTS, *WORDS]).partition("There are")[0]
    return f"{near} Write train, valid or test; training, validation, val, dev and testing mean those too.".strip()


def check_groups(parts: Sequence[Indices], names: Sequence[str], codes: Indices, where: str) -> None:
    """Raise a DataError for a group that lies in two parts; `codes` are places in `names`, of each example."""
    first = np.full(len(names), -1)
    for number, rows in enumerate(parts):
        here = np.unique(codes[rows])
        both = here[(first[here] >= 0) & (first[here] != number)]
        if len(both):
            group, other = int(both[0]), int(first[both[0]])
            pair = [int(parts[one][(codes[parts[one]] == group).argmax()]) + 1 for one in (other, number)]
            more = f"; so do {plural(len(both) - 1, 'other')}" if len(both) > 1 else ""
            raise DataError(
                f"the group `{names[group]}` of {where} lies in two parts: row {pair[0]:,} is in `{PARTS[other]}`, "
                f"row {pair[1]:,} in `{PARTS[number]}`{more}",
                hint="Put all rows of a group into one part, or leave out `group`.",
            )
        first[here] = number


def grouped_parts(counts: Sequence[int], codes: Indices, where: str, seed: int, rest: bool) -> list[Indices]:
    """Draw train, valid and test of about the given numbers of examples, each of whole groups.

    The groups are walked in random order; a part takes each one that brings it nearer to its number. With `rest` the
    training part takes all that is left.

    Raises:
        DataError: no group fits into a part that is asked for.
    """
    rng = np.random.default_rng(seed)
    sizes = np.bincount(codes)
    left = rng.permutation(len(sizes)).tolist()
    owner = np.full(len(sizes), -1)
    for part in (2, 1) if rest else (2, 1, 0):
        taken = _filled_up(counts[part], left, sizes)
        if counts[part] and not taken:
            raise _no_group(part, counts[part], [int(sizes[group]) for group in left], len(codes), where)
        owner[taken] = part
        left = [group for group in left if group not in set(taken)]
    if rest:
        if not left:
            raise _no_group(0, counts[0], [], len(codes), where)
        owner[left] = 0
    return [rng.permutation(np.flatnonzero(owner[codes] == part)) for part in range(3)]


def _filled_up(wanted: int, groups: Sequence[int], sizes: Indices) -> list[int]:
    """Take the groups that bring a part nearer to the number of examples that is wanted."""
    taken, have = [], 0
    for group in groups:
        if abs(have + sizes[group] - wanted) < abs(have - wanted):
            taken.append(group)
            have += int(sizes[group])
    return taken


def _no_group(part: int, wanted: int, sizes: Sequence[int], total: int, where: str) -> DataError:
    least = f", and the smallest of {plural(len(sizes), 'group')} left has {min(sizes):,}" if sizes else ""
    return DataError(
        f"no group of {where} fits into `{PARTS[part]}`, which asks for {wanted:,} of {total:,} rows{least}",
        hint="Ask for more rows in it, or fewer in the other parts.",
    )


def grouped_folds(folds: int, codes: Indices, where: str, seed: int | Sequence[int]) -> list[Indices]:
    """Share out whole groups to folds of about equal size: the largest groups first, to the smallest fold.

    Raises:
        DataError: there are more folds than groups.
    """
    rng = np.random.default_rng(seed)
    names, codes = np.unique(codes, return_inverse=True)
    if folds > len(names):
        raise DataError(
            f"`folds` {folds} of {plural(len(names), 'group')} of {where}: none may be empty",
            hint="Ask for fewer folds.",
        )
    sizes = np.bincount(codes)
    order = rng.permutation(len(sizes))
    owner, have = np.empty(len(sizes), np.int64), np.zeros(folds, np.int64)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        owner[group] = have.argmin()
        have[owner[group]] += sizes[group]
    return [rng.permutation(np.flatnonzero(owner[codes] == fold)) for fold in range(folds)]
