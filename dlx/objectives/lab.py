"""CIE 1976 L*a*b* of sRGB colours under D65, in numpy and in torch: lightness and two axes of colour."""

from __future__ import annotations

from typing import Any

WHITE = (0.95047, 1.0, 1.08883)
"""X, Y and Z of the white of sRGB, D65."""
TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
"""Rows give X, Y and Z of linear red, green and blue. IEC 61966-2-1, to seven digits."""
TO_RGB = (
    (3.2404542, -1.5371385, -0.4985314),
    (-0.9692660, 1.8760108, 0.0415560),
    (0.0556434, -0.2040259, 1.0572252),
)
"""The inverse."""
BEND = 6 / 29


def lab_of(xp: Any, red: Any, green: Any, blue: Any) -> tuple[Any, Any, Any]:
    """Return L* from 0 to 100, a* and b* of sRGB values from 0 to 1; `xp` is numpy or torch, whose arrays they are.

    Source: IEC 61966-2-1 (sRGB); CIE 15:2004, section 8.2.1.
    """
    linear = [_linear(xp, one) for one in (red, green, blue)]
    x, y, z = (_bent(xp, one / white) for one, white in zip(_mixed(TO_XYZ, linear), WHITE, strict=True))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def rgb_of(xp: Any, lightness: Any, a: Any, b: Any) -> tuple[Any, Any, Any]:
    """Return red, green and blue of L*, a* and b*; colours that sRGB does not have are cut off to 0 and 1."""
    y = (lightness + 16) / 116
    bent = y + a / 500, y, y - b / 200
    xyz = [_straight(xp, one) * white for one, white in zip(bent, WHITE, strict=True)]
    red, green, blue = (_gamma(xp, one.clip(0, 1)) for one in _mixed(TO_RGB, xyz))
    return red, green, blue


def _mixed(rows: tuple[tuple[float, ...], ...], channels: list[Any]) -> list[Any]:
    return [sum(weight * one for weight, one in zip(row, channels, strict=True)) for row in rows]


def _linear(xp: Any, value: Any) -> Any:
    return xp.where(value <= 0.04045, value / 12.92, ((value.clip(0, 1) + 0.055) / 1.055) ** 2.4)


def _gamma(xp: Any, value: Any) -> Any:
    return xp.where(value <= 0.0031308, value * 12.92, 1.055 * value.clip(1e-9, 1) ** (1 / 2.4) - 0.055)


def _bent(xp: Any, value: Any) -> Any:
    return xp.where(value > BEND**3, value.clip(1e-9, None) ** (1 / 3), value / (3 * BEND**2) + 4 / 29)


def _straight(xp: Any, value: Any) -> Any:
    return xp.where(value > BEND, value**3, 3 * BEND**2 * (value - 4 / 29))
