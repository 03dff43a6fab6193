"""Limits on the size of an expanded network, so that a small spec cannot take unbounded time or memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import le

from ...spec.syntax.read import Node
from ...spec.validation import MAX_PROBLEMS

MAX_LAYERS = 20_000
MAX_ENTRIES = 50_000
"""Largest number of entries and of turns of `repeat` and `for`; empty and skipped ones cost time too."""
MAX_WORK = 600_000
"""Largest number of values in all entries that run, each time that they run."""
MAX_CALLS = 64
"""Deepest chain of blocks that use each other."""
MAX_NESTING = 120
"""Deepest nesting of entries, those of blocks and shared scopes included."""

NESTED = frozenset(("layers", "branches", "shortcut", "merge", "after"))
"""Fields that hold entries of their own, which are counted when they run."""


class TooLarge(Exception):  # noqa: N818 - no mistake of the walk: the problem is reported before it is raised
    """Ends the expansion: a limit is exceeded, or there are too many problems."""


@dataclass
class Usage:
    """Consumption of the limits by all networks of a spec together."""

    entries: int = 0
    layers: int = 0
    work: int = 0
    exceeded: bool = False
    """A limit was exceeded and reported: the networks that follow are not expanded."""
    ran: set[int] = field(default_factory=set)
    """Identities of the entries that ran, or were found to be none; counted ones, which `_costs` stores."""
    _costs: dict[int, tuple[Node, int]] = field(default_factory=dict)

    def count(self, entry: Node) -> None:
        """Count one more entry, or one more turn of a loop."""
        self.entries += 1
        self.work += self._cost(entry)

    @property
    def cost(self) -> tuple[int, int, int]:
        """Entries, layers and work so far."""
        return self.entries, self.layers, self.work

    def takes(self, cost: Sequence[int]) -> bool:
        """Count entries, layers and work at once, where the limits allow them; return whether they do."""
        sums = tuple(have + more for have, more in zip(self.cost, cost, strict=True))
        within = all(map(le, sums, (MAX_ENTRIES, MAX_LAYERS, MAX_WORK)))
        if within:
            self.entries, self.layers, self.work = sums
        return within

    def problem(self, depth: int, problems: int) -> tuple[str, str] | None:
        """Return the message and hint for a limit that is exceeded at this depth and number of problems."""
        hint = "Is a `repeat` too long, or does a block use itself?"
        if self.layers > MAX_LAYERS:
            return f"the network grows beyond {MAX_LAYERS:,} layers", hint
        if self.entries > MAX_ENTRIES:
            return f"the network grows beyond {MAX_ENTRIES:,} entries and turns", hint
        if depth > MAX_NESTING:
            return f"layers are nested more than {MAX_NESTING} deep", hint
        if self.work > MAX_WORK:
            return f"the entries that run hold more than {MAX_WORK:,} values in all", hint
        if problems >= MAX_PROBLEMS:
            return f"{MAX_PROBLEMS} mistakes so far: the rest was not looked at", ""
        return None

    def _cost(self, entry: Node) -> int:
        """Return the number of values of an entry without the layers inside it; long expressions count for more."""
        known = self._costs.get(id(entry))
        if known is None:
            own = [node for key, node in entry.map.items() if key not in NESTED]
            own += (
                [node for kind in own for key, node in kind.map.items() if key not in NESTED] if entry.is_map else []
            )
            values = [value for node in own if not node.map.keys() & NESTED for value in node.walk()]
            lengths = [len(v.value) // 2 for v in values if isinstance(v.value, str) and "${" in v.value]
            # The entry is stored with its cost: once it were freed, another could have its id
            known = (entry, len(values) + sum(lengths))
            self._costs[id(entry)] = known
        return known[1]
