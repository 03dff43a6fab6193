"""Boxes in a grid of cells: decoding, intersection over union, suppression, and average precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DecodedBoxes:
    """Boxes of each cell, decoded from outputs (N, 5 boxes + classes, S, S) or targets (N, 5 + classes, S, S)."""

    confidence: Tensor
    """Confidence (N, boxes, S, S)."""
    place: Tensor
    """(N, boxes, 4, S, S): column and row of the centre, from 0 to 1 within the cell; square roots of width and
    height."""
    classes: Tensor
    """Score or one-hot encoding of the classes (N, classes, S, S)."""

    @property
    def corners(self) -> Tensor:
        """Left, top, right and bottom (N, boxes, S, S, 4), as fractions of the picture."""
        rows, columns = (
            torch.arange(size, device=self.place.device, dtype=self.place.dtype) for size in self.place.shape[-2:]
        )
        column = (self.place[:, :, 0] + columns) / len(columns)
        row = (self.place[:, :, 1] + rows[:, None]) / len(rows)
        width, height = self.place[:, :, 2].square(), self.place[:, :, 3].square()
        return torch.stack([column - width / 2, row - height / 2, column + width / 2, row + height / 2], -1)


def decode_outputs(output: Tensor, boxes: int) -> DecodedBoxes:
    """Decode outputs, which hold the square roots of width and height."""
    cells = output[:, : 5 * boxes].reshape(len(output), boxes, 5, *output.shape[2:])
    return DecodedBoxes(cells[:, :, 0], cells[:, :, 1:], output[:, 5 * boxes :])


def detections(output: Tensor, boxes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the corners (N, k, 4), classes (N, k) and scores (N, k) of all boxes of outputs, k = `boxes` S S.

    A box has the most probable class of its cell, and as score the product of both confidences.
    """
    decoded = decode_outputs(output, boxes)
    surest, classes = decoded.classes.max(1, keepdim=True)
    scores = decoded.confidence * surest
    return decoded.corners.flatten(1, 3), classes.expand_as(scores).flatten(1), scores.flatten(1)


def decode_targets(target: Tensor) -> DecodedBoxes:
    """Decode targets, which hold width and height."""
    place = torch.cat([target[:, 1:3], target[:, 3:5].clamp_min(0).sqrt()], 1)
    return DecodedBoxes(target[:, :1], place[:, None], target[:, 5:])


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Return the elementwise intersection over union of boxes (*, 4) given by corners; 0 where both are empty."""
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    both = sides.clamp_min(0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).clamp_min(0).prod(-1) for box in (a, b)]
    either = areas[0] + areas[1] - both
    return torch.where(either > 0, both / either.clamp_min(1e-12), torch.zeros_like(both))


def suppressed(boxes: Tensor, classes: Tensor, scores: Tensor, most: float) -> Tensor:
    """Return the mask of boxes (N, k) removed by non-maximum suppression.

    A box is removed if it overlaps a better one of its class and picture by more than `most`, and that one is not
    removed.
    """
    order = scores.argsort(dim=1, descending=True, stable=True)
    sorted_boxes, kinds = boxes.take_along_dim(order[..., None], 1), classes.gather(1, order)
    near = overlap(sorted_boxes[:, :, None], sorted_boxes[:, None]) > most
    near &= kinds[:, :, None] == kinds[:, None]
    out = torch.zeros_like(kinds, dtype=torch.bool)
    for i in range(out.shape[1]):
        out[:, i + 1 :] |= near[:, i, i + 1 :] & ~out[:, i, None]
    return torch.zeros_like(out).scatter(1, order, out)


def hits(images: Tensor, boxes: Tensor, true_images: Tensor, true_boxes: Tensor, least: float) -> Tensor:
    """Return which boxes are true positives; boxes are sorted by descending score, and each true box is matched
    once.
    """
    taken = torch.zeros(len(true_images), dtype=torch.bool)
    found = torch.zeros(len(images), dtype=torch.bool)
    for i in range(len(images)):
        shared = torch.where(true_images == images[i], overlap(boxes[i], true_boxes), -torch.ones(len(true_boxes)))
        if len(shared) and shared.max() >= least and not taken[shared.argmax()]:
            taken[shared.argmax()] = found[i] = True
    return found


def average_precision(found: Tensor, there: int) -> float:
    """Return the area under precision over recall, with the best precision at this recall or a higher one.

    Arguments:
        found: whether each detection is right, by descending score.
        there: number of true boxes.

    Source: Everingham et al. 2015, The Pascal visual object classes challenge: a retrospective, section 3.2.
    """
    if not len(found):
        return 0.0
    right = found.double().cumsum(0)
    precision = right / torch.arange(1, len(found) + 1)
    best = precision.flip(0).cummax(0).values.flip(0)
    return float((best * found).sum() / there)
