"""oneDNN's own layout of images, which a network asks for once instead of in each convolution."""

from __future__ import annotations

from torch import Tensor, nn


class Blocked(nn.Module):
    """A network with its convolutions in oneDNN's own layout, and what comes from `Flatten` on in torch's."""

    def __init__(self, network: nn.Sequential) -> None:
        super().__init__()
        flat = next(i for i, one in enumerate(network) if isinstance(one, nn.Flatten))
        self.images, self.rows = network[:flat], network[flat:]

    def forward(self, x: Tensor) -> Tensor:
        return self.rows(self.images(x.to_mkldnn()).to_dense())
