"""Generated stick figures with known joints, for pose estimation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from ...lazy import np
from ...shapes import Shape
from ..base import Facts, Sets, Split
from ..file_reading import check_memory
from ..label_noise import with_label_noise
from ..splits import assemble
from .toys import Toy

if TYPE_CHECKING:
    from ..base import Floats
    from ..preprocess.sums import Doubles

LIMBS = (
    # joint, the joint that it hangs on, length in body sizes, direction in degrees (0 right, 90 down), play
    ("hip", "neck", 0.30, 90, 15),
    ("head", "neck", 0.16, 270, 20),
    ("left elbow", "neck", 0.18, 150, 50),
    ("left hand", "left elbow", 0.16, 0, 60),
    ("right elbow", "neck", 0.18, 30, 50),
    ("right hand", "right elbow", 0.16, 0, 60),
    ("left knee", "hip", 0.22, 110, 25),
    ("left foot", "left knee", 0.20, 0, 30),
    ("right knee", "hip", 0.22, 70, 25),
    ("right foot", "right knee", 0.20, 0, 30),
)
"""The limbs from the neck on. Hands and feet continue in the direction of the limb above; left is that of the
picture."""
JOINTS = ("neck", *(name for name, *_ in LIMBS))
SMALLEST, LARGEST = 0.6, 0.9  # body size, of the size of the picture
HEAD = 0.07  # radius, in body sizes
EDGE = 0.06  # of the picture, that stays free around the joints


class Poses(Toy):
    """Stick figures on a dark ground, hidden in noise, and a heat map of each of their eleven joints.

    Shapes: inputs (1, size, size), limbs 1 and the ground 0, before noise; targets (11, size, size), in each map a
        Gaussian spot of height 1 on the joint: neck, hip, head, left elbow, left hand, right elbow, right hand, left
        knee, left foot, right knee, right foot, where left is that of the picture.
    Body sizes are uniform from 0.6 to 0.9 of `size`, directions of limbs around those of a standing figure, and the
    place wherever all joints are in the picture.
    Errors: more pictures than there is memory for.
    Source: our own; heat maps as in Newell, Yang & Deng 2016, arXiv:1603.06937, section 3.1.
    """

    kind: ClassVar[str] = "poses"
    size: PositiveInt = Field(32, le=10_000, ge=16, description="height and width, in pixels")
    noise: NonNegativeFloat = Field(0.1, description="standard deviation of what is added to each value")
    spot: PositiveFloat = Field(1.5, description="standard deviation of a spot in a heat map, in pixels")

    source: ClassVar[str] = "drawn stick figures"

    @property
    def inputs(self) -> int:
        return self.size**2

    @property
    def outputs(self) -> int:
        return len(JOINTS)

    def facts(self) -> Facts:
        return Facts(
            Shape((1, self.size, self.size)), target=Shape((len(JOINTS), self.size, self.size)), examples=self.train
        )

    def load(self) -> Sets:
        count = self.train + (self.valid or 0) + (self.test or 0)
        maps = Shape((1 + len(JOINTS), self.size, self.size))
        check_memory(count, maps, "ask for fewer, or a smaller `size`")
        parts = [self._part(n or 0, np.random.default_rng([self.seed, stream])) for n, stream in self._streams()]
        sets = with_label_noise(assemble(parts, self.standardize, f"{self.source}, seed {self.seed}"), self)
        return replace(sets, reading={"joints": list(JOINTS)})

    def _part(self, n: int, rng: np.random.Generator) -> Split | None:
        if not n:
            return None
        body = self.size * rng.uniform(SMALLEST, LARGEST, n)
        joints = self._joints(body, rng)
        x = self._render(joints, body)
        x += self.noise * rng.standard_normal(x.shape, np.float32)
        maps = [np.exp(-(self._distance(joints[:, i]) ** 2) / (2 * self.spot**2)) for i in range(len(JOINTS))]
        return Split(x, np.stack(maps, 1).astype(np.float32))

    def _joints(self, body: Doubles, rng: np.random.Generator) -> Doubles:
        """Draw column and row (n, joints, 2) of each joint, in pixels."""
        n = len(body)
        place, turned = {"neck": np.zeros((n, 2))}, {"neck": np.zeros(n)}
        for name, above, length, direction, play in LIMBS:
            angle = turned[above] * (direction == 0) + np.radians(direction + rng.uniform(-play, play, n))
            turned[name] = angle
            place[name] = place[above] + (length * body)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        joints = np.stack([place[name] for name in JOINTS], 1)
        low, high = joints.min(1), joints.max(1)
        edge = EDGE * self.size
        room = self.size - 1 - 2 * edge - (high - low)
        placed: Doubles = joints + (edge - low + room * rng.uniform(size=(n, 2)))[:, None]
        return placed

    def _render(self, joints: Doubles, body: Doubles) -> Floats:
        """Render pictures (n, 1, size, size) without noise; lines are about two pixels wide, with soft edges."""
        place = {name: joints[:, i] for i, name in enumerate(JOINTS)}
        lines = [self._distance(place[name], place[above]) for name, above, *_ in LIMBS]
        head = np.maximum(self._distance(place["head"]) - (HEAD * body)[:, None, None], 0)
        nearest = np.minimum.reduce([*lines, head])
        x: Floats = np.clip(1.5 - nearest, 0, 1).astype(np.float32)[:, None]
        return x

    def _distance(self, start: Doubles, end: Doubles | None = None) -> Doubles:
        """Return the distance of each pixel (n, size, size) to a point (n, 2), or to the line between two points."""
        steps = np.arange(self.size, dtype=np.float64)
        columns, rows = steps - start[:, 0, None, None], steps[:, None] - start[:, 1, None, None]
        if end is not None:
            along_x, along_y = ((end - start)[:, i, None, None] for i in (0, 1))
            part = np.clip((columns * along_x + rows * along_y) / (along_x**2 + along_y**2), 0, 1)
            columns, rows = columns - part * along_x, rows - part * along_y
        distance: Doubles = np.hypot(columns, rows)
        return distance
