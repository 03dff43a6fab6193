"""Pieces of SVG: escaped texts with their widths, paths with round corners, a document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

SIZE, SMALL, LARGE = 12.0, 11.0, 15.0
"""Heights of the letters of texts, of small ones and of titles."""
SIZES: Final = {"s": SMALL, "h": LARGE}
"""Height by class; `b` and `h` are bold."""
FONT: Final = "Helvetica, Arial, 'Liberation Sans', sans-serif"
# Of ASCII from the space on, in thousandths of the size: Adobe's metrics of Helvetica, which Arial shares.
_WIDTHS: Final = (
    *(278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278),
    *(556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556),
    *(1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778),
    *(667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556),
    *(333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556),
    *(556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584),
)
_OTHER: Final = 600
_BOLD: Final = 1.08
_FULL: Final = 1000
"""Width of what is not in Latin script: a square."""
Point = tuple[float, float]


@dataclass(frozen=True)
class Picture:
    """An SVG file as text, and its size in pixels."""

    text: str
    width: float
    height: float


def text_width(words: str, size: float, bold: bool = False) -> float:
    """Return the width of a text of so many pixels in height, in pixels."""
    total = 0
    for letter in words:
        code = ord(letter) - 32
        total += _WIDTHS[code] if 0 <= code < len(_WIDTHS) else _OTHER if code < 0x500 else _FULL
    return total * size / 1000 * (_BOLD if bold else 1)


def cut(words: str, width: float, size: float, bold: bool = False) -> str:
    """Return a text shortened to a width, with three dots where something is left out."""
    if text_width(words, size, bold) <= width:
        return words
    while words and text_width(words + "\u2026", size, bold) > width:
        words = words[:-1]
    return words + "\u2026"


def quoted(words: str) -> str:
    """Return a text as content or an attribute of XML, without the characters that XML has not."""
    legal = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in words)
    return escape(legal, quote=True)


def number(value: float) -> str:
    """Return a coordinate with one digit behind the point at most."""
    return f"{value + 0.0:.1f}".removesuffix(".0") if abs(value) >= 0.05 else "0"


def text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    """Return a text whose baseline begins, has its middle, or ends at a point.

    It is as long as `text_width` says, whatever font a reader has: no text lies on another.
    """
    size = SIZES.get(style.partition(" ")[0], SIZE)
    long = f' textLength="{number(text_width(words, size, style[:1] in ("b", "h")))}" lengthAdjust="spacingAndGlyphs"'
    named = f' class="{style}"' if style else ""
    placed = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{number(x)}" y="{number(y)}"{named}{placed}{long}>{quoted(words)}</text>'


def rect(x: float, y: float, width: float, height: float, style: str = "", round_by: float = 0) -> str:
    named = f' class="{style}"' if style else ""
    corner = f' rx="{number(round_by)}"' if round_by else ""
    return f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"{corner}{named}/>'


def line(points: Sequence[Point], radius: float = 7) -> str:
    """Return the path along points, with round corners, as the attribute `d`."""
    parts = [f"M{number(points[0][0])} {number(points[0][1])}"]
    for before, here, behind in zip(points, points[1:], points[2:], strict=False):
        near, far = _toward(here, before, radius), _toward(here, behind, radius)
        parts.append(f"L{_pair(near)}Q{_pair(here)} {_pair(far)}")
    return "".join([*parts, f"L{_pair(points[-1])}"])


def _toward(here: Point, other: Point, radius: float) -> Point:
    """Return the point `radius` away from `here`, and no further than half of the way to the other."""
    across, down = other[0] - here[0], other[1] - here[1]
    length = (across**2 + down**2) ** 0.5
    share = min(radius / length, 0.5) if length else 0
    return here[0] + share * across, here[1] + share * down


def _pair(point: Point) -> str:
    return f"{number(point[0])} {number(point[1])}"


def picture(width: float, height: float, name: str, description: str, style: str, content: Iterable[str]) -> Picture:
    """Return a whole SVG file on white, with a title and a description for those who do not see it."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{number(width)}" height="{number(height)}" '
        f'viewBox="0 0 {number(width)} {number(height)}" role="img" aria-label="{quoted(name)}" '
        f'font-family="{quoted(FONT)}">'
    )
    about = f"<title>{quoted(name)}</title>\n<desc>{quoted(description)}</desc>\n<style>{style}</style>"
    white = rect(0, 0, width, height, "w")
    return Picture("\n".join([head, about, white, *content, "</svg>\n"]), width, height)
