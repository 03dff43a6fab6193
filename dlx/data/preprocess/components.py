"""Steps along the principal components of the training inputs."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt

from ...errors import DataError
from ...lazy import np
from ...shapes import Shape
from .base import Preprocess
from .sums import principal_components, projected

if TYPE_CHECKING:
    from ..base import Floats
    from .base import Statistics

WIDEST = 2**14  # inputs whose covariance is still taken: 2 GiB


class PCA(Preprocess):
    """Project onto the principal components of the training inputs.

    Shapes: (*s) -> (components,), in descending order of variance. Each component has the sign that makes its largest
    entry positive. With `whiten`, each coordinate is divided by its standard deviation (with n, not n - 1). Cost: the
    eigenvectors of a matrix of inputs x inputs. Their last bits can differ between machines. Errors: more components
    than input values; inputs too wide for that matrix. Source: Pearson 1901, "On lines and planes of closest fit";
    Hotelling 1933.
    """

    kind: ClassVar[str] = "pca"
    components: PositiveInt | None = Field(None, description="how many axes to keep; null keeps all")
    whiten: bool = Field(False, description="bring each coordinate to standard deviation 1")
    epsilon: NonNegativeFloat = Field(1e-5, description="added to variances before their root is divided by")

    def output_shape(self, x: Shape) -> Shape:
        wide = _width(x, self.kind)
        if self.components and self.components > wide:
            raise DataError(
                f"`pca` is to keep {self.components:,} components of {wide:,} input values {x}",
                hint=f"Give {wide:,} at most.",
            )
        return Shape((self.components or wide,))

    def fit(self, x: Floats) -> Statistics:
        mean, variances, axes = principal_components(x)
        count = self.components or len(variances)
        variances, axes = variances[:count], axes[:, :count]
        scale = np.sqrt(variances + self.epsilon) if self.whiten else np.ones(count)
        return {"mean": mean, "axes": axes, "variances": variances, "std": np.where(scale > 0, scale, 1.0)}

    def apply(self, x: Floats, found: Statistics) -> Floats:
        return projected(x, found["mean"], found["axes"] / found["std"])


class Whiten(Preprocess):
    """Make the covariance of the training inputs the identity, with the least change of the inputs (ZCA).

    Shapes: unchanged: a whitened image is still an image. `pca: {whiten: true}` gives coordinates instead.
    Cost: the eigenvectors of a matrix of inputs x inputs. Their last bits can differ between machines.
    Errors: inputs too wide for that matrix.
    Source: Bell & Sejnowski 1997, "The 'independent components' of natural scenes are edge filters", section 2.
    """

    kind: ClassVar[str] = "whiten"
    epsilon: NonNegativeFloat = Field(
        1e-5, description="added to variances before their root is divided by: more leaves faint directions faint"
    )

    def output_shape(self, x: Shape) -> Shape:
        _width(x, self.kind)
        return x

    def fit(self, x: Floats) -> Statistics:
        mean, variances, axes = principal_components(x)
        scale = np.sqrt(variances + self.epsilon)
        inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
        return {"mean": mean, "matrix": (axes * inverse) @ axes.T, "variances": variances}

    def apply(self, x: Floats, found: Statistics) -> Floats:
        return np.reshape(projected(x, found["mean"], found["matrix"]), x.shape)


def _width(x: Shape, kind: str) -> int:
    wide = prod(x)
    if wide > WIDEST:
        raise DataError(
            f"`{kind}` takes the covariance of {wide:,} input values {x}, a matrix of {8 * wide**2 / 2**30:,.1f} GiB",
            hint=f"It takes {WIDEST:,} at most: make the inputs smaller, or use `center` or `standardize`.",
        )
    return wide
