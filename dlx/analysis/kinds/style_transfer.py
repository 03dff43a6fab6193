"""Style transfer: a picture with the content of one and the style of another."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from ...errors import DlxError, Problem
from ...lazy import torch
from ...spec.analyses import Analysis
from ..layers import unknown_names
from ..measures.ascent import descend, gram, relative_error
from ..measures.classifier import one_input_problems, with_positions
from ..measures.input_space import InputSpace, panels_of, space_of
from ..measures.over_seeds import over_seeds
from ..measures.parts_of_network import up_to
from ..result import Bars, Panel, Result

if TYPE_CHECKING:
    from torch import Tensor, fx

    from ..subject import Subject


class StyleTransfer(Analysis):
    """A picture whose maps in one layer are those of a content picture, and whose Gram matrices are a style's.

    From the content picture on it minimises ||A - A_content||^2 / ||A_content||^2 plus `style_weight` times the mean
    over layers of ||G - G_style||^2 / ||G_style||^2, where G holds the products of a layer's channels, averaged over
    positions: what textures have in common wherever they lie. Figures: `content_error` and `style_error` at the end,
    `style_before` (of the content picture), `style_left` = style_error / style_before.
    Paper: the objects of one picture in the colours and textures of the other.
    """

    kind: ClassVar[str] = "style_transfer"
    source: ClassVar[str] = "Gatys, Ecker & Bethge 2016, Image style transfer using convolutional neural networks"
    example: ClassVar[str] = "dlx analyze style_transfer runs/resnet20/ID --set content=3 --set style=7"
    figures: ClassVar[tuple[str, ...]] = ("content_error", "style_error", "style_before", "style_left")

    content: NonNegativeInt = Field(0, description="number of an example of the part, whose content is taken")
    style: NonNegativeInt = Field(1, description="number of an example of the part, whose style is taken")
    content_layer: str = Field("", description="the layer of the content; the middle one that has maps")
    style_layers: list[str] = Field([], description="the layers of the style; up to five that have maps, evenly")
    style_weight: NonNegativeFloat = Field(10.0, description="factor on the mean error of the style")
    steps: PositiveInt = Field(200, description="updates of the picture")
    part: str = Field("", description="the part of both examples; test, else valid, else train")
    seeds: PositiveInt = Field(1, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why no layer has maps, and layers that have none."""
        if found := one_input_problems(subject):
            return found
        asked = [*filter(None, [self.content_layer]), *self.style_layers]
        if found := [
            *unknown_names(subject.graph, [self.content_layer], "content_layer"),
            *unknown_names(subject.graph, self.style_layers, "style_layers"),
        ]:
            return found
        maps = [one.name for one in with_positions(subject.graph)]
        if not maps:
            return [Problem(f"{subject.name} has no layer with maps", "Take a convolutional network.")]
        hint = f"The last layer that has is `{maps[-1]}`."
        return [Problem(f"`{one}` has no maps", hint) for one in asked if one not in maps]

    def run(self, subject: Subject) -> Result:
        """Make the picture with each network."""
        maps = [one.name for one in with_positions(subject.graph)]
        content_layer = self.content_layer or maps[len(maps) // 2]
        layers = self.style_layers or [maps[i] for i in sorted({round(j * (len(maps) - 1) / 4) for j in range(5)})]
        space = space_of(subject)
        content, style = self._two(subject, space)
        each, shown = [], tuple[Panel, ...]()
        for network in subject.several(self.seeds):
            errors, picture = self._made(up_to(network, [content_layer, *layers]), space, content, style)
            each.append(errors)
            three = [("content", content[0]), ("style", style[0]), ("made of both", picture[0])]
            shown = shown or panels_of("content, style, and both", space, three, 3)
        mean, low, high = over_seeds(each)
        figures = dict(zip(("content_error", "style_error", "style_before"), mean.tolist(), strict=True))
        figures["style_left"] = figures["style_error"] / figures["style_before"] if figures["style_before"] else 0.0
        ends = (None, None) if low is None or high is None else (low[:2], high[:2])
        names = ["content", "style"]
        bars = Bars("before", names, [0.0, mean[2]]), Bars("after", names, mean[:2], *ends)
        panel = Panel("errors", "of the", "relative squared error", bars)
        rows = [["content", 0.0, mean[0]], ["style", mean[2], mean[1]]]
        return Result(figures, (*shown, panel), (("error of", "before", "after"), rows), seeds=len(each))

    def _two(self, subject: Subject, space: InputSpace) -> tuple[Tensor, Tensor]:
        """Return both pictures, each (1, channels, *size)."""
        numbers = [self.content, self.style]
        if subject.has_data:
            part = subject.part(self.part)
            if max(numbers) >= len(part):
                message = f"there is no example {max(numbers):,} in the {len(part):,} of {subject.name}"
                raise DlxError(message, hint=f"Take `content` and `style` from 0 to {len(part) - 1:,}.")
            both = part.take(torch.tensor(numbers).to(subject.device)).inputs[0]
        else:
            both = subject.examples(max(numbers) + 1).inputs[0][numbers]
        raw = space.to_raw(both)
        return raw[:1], raw[1:]

    def _made(
        self, network: fx.GraphModule, space: InputSpace, content: Tensor, style: Tensor
    ) -> tuple[tuple[float, float, float], Tensor]:
        """Return the errors of content and style, that of the style before, and the picture."""
        with torch.no_grad():
            wanted = network(space.to_network(content))[0]
            grams = [gram(one) for one in network(space.to_network(style))[1:-1]]

        def errors(x: Tensor) -> tuple[Tensor, Tensor]:
            first, *others, _ = network(space.to_network(x))
            of_style = [relative_error(gram(one), g) for one, g in zip(others, grams, strict=True)]
            return relative_error(first, wanted), torch.stack(of_style).mean(0)

        def loss(x: Tensor) -> Tensor:
            of_content, of_style = errors(x)
            return of_content + self.style_weight * of_style

        with torch.no_grad():
            before = float(errors(content)[1])
        picture = descend(loss, content, self.steps, 0.05 * space.range, space.limits)
        with torch.no_grad():
            after = errors(picture)
        return (float(after[0]), float(after[1]), before), picture
