"""Operations that are affine in what depends on the image: sums, scalings, averages, convolutions, linear layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from steelman.bounds.graph import SUMMED, Box, Call, dot
from steelman.bounds.program import Ref


@dataclass(frozen=True)
class Sum:
    """a + factor · b, of two arguments or of one and a constant; broadcast if need be.

    factor: 1, or -1 for a difference.  swapped: whether it is b + factor · a, as in torch's rsub.
    """

    factor: float = 1.0
    swapped: bool = False
    affine: bool = True

    def box(self, call: Call, boxes: list[Box]) -> Box:
        """Returns the least and greatest results, from those of the arguments."""
        lows, highs = [], []
        for sign, box in zip(self._signs(call), boxes, strict=True):
            lows.append(box.low if sign > 0 else box.high)
            highs.append(box.high if sign > 0 else box.low)
        return widened(Box(call(*lows), call(*highs)), 4 * call.unit * self._size(call, boxes))

    def noise(self, call: Call, boxes: list[Box]) -> Tensor:
        """Returns how far rounding can carry each result."""
        return ((SUMMED + 4) * call.unit * self._size(call, boxes)).expand(call.node.shape)

    def _size(self, call: Call, boxes: list[Box]) -> Tensor:
        size = self._shift(call).abs()
        for sign, box in zip(self._signs(call), boxes, strict=True):
            size = size + box.largest * abs(sign)
        return size

    def back(self, call: Call, boxes: list[Box], rows: Tensor) -> tuple[list[Tensor], Tensor | float]:
        """Returns rows over the arguments, and the constants lost on the way."""
        pairs = zip(self._signs(call), call.shapes, strict=True)
        found = [narrowed(rows if sign == 1 else rows * sign, call, shape) for sign, shape in pairs]
        return found, dot(rows, call.part(self._shift(call))) if len(found) == 1 else 0.0

    def _signs(self, call: Call) -> list[float]:
        alpha = self.factor * call.number("alpha")
        own, other = (alpha, 1.0) if self.swapped else (1.0, alpha)
        both = ((own, call.named["self"]), (other, call.named["other"]))
        return [sign for sign, value in both if not isinstance(value, Tensor | int | float)]

    def _shift(self, call: Call) -> Tensor:
        """What the constant adds."""
        if len(call.given) == 2:
            return call.like.new_zeros(())
        return call(call.like.new_zeros(call.shapes[0]))


@dataclass(frozen=True)
class Scale:
    """One argument times constants that broadcast to it, plus constants: products, quotients, batch norm."""

    affine: bool = True

    def box(self, call: Call, boxes: list[Box]) -> Box:
        """Returns the least and greatest results, from those of the arguments."""
        factor, shift = self._line(call)
        ends = (boxes[0].low * factor + shift, boxes[0].high * factor + shift)
        return widened(Box(torch.minimum(*ends), torch.maximum(*ends)), 8 * call.unit * self._size(call, boxes))

    def noise(self, call: Call, boxes: list[Box]) -> Tensor:
        """Returns how far rounding can carry each result."""
        return ((SUMMED + 8) * call.unit * self._size(call, boxes)).expand(call.node.shape)

    def _size(self, call: Call, boxes: list[Box]) -> Tensor:
        factor, shift = self._line(call)
        size = boxes[0].largest * factor.abs() + shift.abs()
        if call.node.name == "native_batch_norm":
            size = size + (call.tensor("running_mean").abs() * _per_channel(call)[0].abs()).view(_channel(call))
        return size

    def back(self, call: Call, boxes: list[Box], rows: Tensor) -> tuple[list[Tensor], Tensor | float]:
        """Returns rows over the arguments, and the constants lost on the way."""
        factor, shift = self._line(call)
        lost = dot(rows, call.part(shift)) if bool((shift != 0).any()) else 0.0
        return [narrowed(rows * call.part(factor), call, call.shapes[0])], lost

    def _line(self, call: Call) -> tuple[Tensor, Tensor]:
        if call.node.name == "native_batch_norm":
            factor, shift = _per_channel(call)
            return factor.view(_channel(call)), shift.view(_channel(call))
        if len(call.given) != 1:
            raise call.unbounded("of two things that depend on the image")
        if call.node.name == "div" and (call.named.get("rounding_mode") or not isinstance(call.named["self"], Ref)):
            raise call.unbounded("that rounds, or divides by what depends on the image,")
        shift = call.like.new_zeros(())
        return call(torch.ones_like(shift).expand(call.shapes[0])), shift


@dataclass(frozen=True)
class Average:
    """Sums with constant weights >= 0 inside each image: means, sums, average pooling, bilinear upsampling.

    terms: how many numbers one result adds up at most; all of the image's where it is not told.
    """

    terms: int | None = None
    affine: bool = True

    def box(self, call: Call, boxes: list[Box]) -> Box:
        """Returns the least and greatest results, from those of the arguments."""
        self._checked(call)
        found = Box(call(boxes[0].low), call(boxes[0].high))
        return widened(found, self.noise(call, boxes))

    def noise(self, call: Call, boxes: list[Box]) -> Tensor:
        """Returns how far rounding can carry each result."""
        kernel = cast("list[int]", call.named.get("kernel_size", [0]))
        several = math.prod(kernel * (3 - len(kernel)))  # one number stands for both sides
        terms = self.terms or several + 4 * math.ceil(call.shapes[0].numel() / call.node.shape.numel())
        return (terms + 8) * call.unit * call(boxes[0].largest)

    def back(self, call: Call, boxes: list[Box], rows: Tensor) -> tuple[list[Tensor], Tensor | float]:
        """Returns rows over the arguments, and the constants lost on the way."""
        (shape,) = call.shapes
        images = rows.shape[1] * shape[0]
        with torch.enable_grad():
            blank = rows.new_zeros(images, *shape[1:], requires_grad=True)
            out = call(blank)
            (found,) = torch.autograd.grad(out, blank, rows.reshape(out.shape), create_graph=rows.requires_grad)
        return [found.reshape(*rows.shape[:2], -1)], 0.0

    def _checked(self, call: Call) -> None:
        if len(call.node.shape) < 2 or call.node.shape[0] != call.shapes[0][0]:
            raise call.unbounded("across the images of a batch")


@dataclass(frozen=True)
class Convolution:
    """Convolutions and transposed convolutions, of any stride, padding, dilation and groups."""

    affine: bool = True

    def box(self, call: Call, boxes: list[Box]) -> Box:
        """Returns the least and greatest results, from those of the arguments."""
        weight, (low, high) = call.tensor("weight"), boxes[0]
        middle, reach = (low + high) / 2, (high - low) / 2
        share = self._share(call)
        reach = reach + share * torch.maximum(low.abs(), high.abs())
        centre = self._run(call, middle, weight, call.optional("bias"))
        spread = self._run(call, reach, weight.abs(), None)
        bias = call.optional("bias")
        extra = 0.0 if bias is None else (share * bias.abs()).view(_channel(call))
        return Box(centre - spread - extra, centre + spread + extra)

    def noise(self, call: Call, boxes: list[Box]) -> Tensor:
        """Returns how far rounding can carry each result."""
        bias = call.optional("bias")
        size = self._run(call, boxes[0].largest, call.tensor("weight").abs(), None if bias is None else bias.abs())
        return (self._share(call) + SUMMED * call.unit) * size

    def back(self, call: Call, boxes: list[Box], rows: Tensor) -> tuple[list[Tensor], Tensor | float]:
        """Returns rows over the arguments, and the constants lost on the way."""
        weight, bias, (shape,) = call.tensor("weight"), call.optional("bias"), call.shapes
        named, out = call.named, call.node.shape
        images = rows.shape[1] * shape[0]
        found = torch.ops.aten.convolution_backward(
            rows.reshape(images, *out[1:]),
            rows.new_zeros(1).expand(images, *shape[1:]),
            weight,
            None,
            named["stride"],
            named["padding"],
            named["dilation"],
            named["transposed"],
            named["output_padding"],
            named["groups"],
            [True, False, False],
        )[0]
        lost = 0.0 if bias is None else dot(rows, call.part(bias.view(_channel(call))))
        return [found.reshape(*rows.shape[:2], -1)], lost

    def _run(self, call: Call, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        names = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
        found: Tensor = torch.ops.aten.convolution(x, weight, bias, *(call.named[name] for name in names))
        return found

    def _share(self, call: Call) -> float:
        """Of the sum of the terms' magnitudes, how much rounding can carry a result off."""
        weight = call.tensor("weight")
        groups = cast(int, call.named["groups"])
        window = math.prod(weight.shape[2:])
        terms = weight.shape[0] // groups * window if call.named["transposed"] else weight.shape[1] * window
        return (terms + 4) * call.unit


@dataclass(frozen=True)
class Linear:
    """A product with a constant matrix, and a bias: mm, addmm, bmm, whose images stand in their first factor."""

    affine: bool = True

    def box(self, call: Call, boxes: list[Box]) -> Box:
        """Returns the least and greatest results, from those of the arguments."""
        matrix, bias = self._parts(call)
        low, high = boxes[0]
        share = (matrix.shape[-2] + 4) * call.unit
        reach = (high - low) / 2 + share * boxes[0].largest
        centre = (low + high) / 2 @ matrix
        spread = reach @ matrix.abs()
        if bias is not None:
            centre, spread = centre + bias, spread + share * bias.abs()
        return Box(centre - spread, centre + spread)

    def noise(self, call: Call, boxes: list[Box]) -> Tensor:
        """Returns how far rounding can carry each result."""
        matrix, bias = self._parts(call)
        size = boxes[0].largest @ matrix.abs() + (0.0 if bias is None else bias.abs())
        return (matrix.shape[-2] + 4 + SUMMED) * call.unit * size

    def back(self, call: Call, boxes: list[Box], rows: Tensor) -> tuple[list[Tensor], Tensor | float]:
        """Returns rows over the arguments, and the constants lost on the way."""
        matrix, bias = self._parts(call)
        images, count = rows.shape[:2]
        several = matrix.mT.unflatten(0, (images, 1, -1)) if matrix.dim() == 3 else matrix.mT
        blocks = () if matrix.dim() == 2 else (len(matrix) // images,)
        found = rows.reshape(images, count, *blocks, -1, matrix.shape[-1]) @ several
        lost = 0.0 if bias is None else dot(rows, call.part(bias))
        return [found.reshape(images, count, -1)], lost

    def _parts(self, call: Call) -> tuple[Tensor, Tensor | None]:
        first, second = ("mat1", "mat2") if "mat1" in call.named else ("self", "mat2")
        if isinstance(call.named[first], Tensor) or len(call.given) != 1:
            raise call.unbounded("whose matrix depends on the image")
        bias = call.tensor("self") * call.number("beta") if "beta" in call.named else None
        matrix = call.tensor(second)
        return matrix * call.number("alpha") if "alpha" in call.named else matrix, bias


def widened(box: Box, noise: Tensor) -> Box:
    """Returns a box that rounding cannot be outside of."""
    return Box(box.low - noise, box.high + noise)


def narrowed(rows: Tensor, call: Call, shape: torch.Size) -> Tensor:
    """Returns rows over a node's values as rows over an argument's, summed where the argument was broadcast."""
    out = call.node.shape
    if shape == out:
        return rows
    if len(shape) != len(out) or shape[0] != out[0] or out[0] != call.batch:
        raise call.unbounded(f"of {tuple(shape)} broadcast to {tuple(out)}")
    spread = [place + 1 for place in range(1, len(out)) if shape[place] != out[place]]
    return rows.reshape(*rows.shape[:2], *out[1:]).sum(spread, keepdim=True).reshape(*rows.shape[:2], -1)


def _channel(call: Call) -> tuple[int, ...]:
    return (1, -1, *[1] * (len(call.node.shape) - 2))


def _per_channel(call: Call) -> tuple[Tensor, Tensor]:
    """What batch norm in evaluation multiplies each channel with, and adds."""
    if call.named["training"] or call.optional("running_mean") is None:
        raise call.unbounded("by the batch's own statistics")
    factor = (call.tensor("running_var") + call.number("eps")).rsqrt()
    weight, bias = call.optional("weight"), call.optional("bias")
    factor = factor if weight is None else factor * weight
    shift = -call.tensor("running_mean") * factor
    return factor, shift if bias is None else shift + bias
