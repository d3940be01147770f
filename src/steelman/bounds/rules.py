"""Every operation that has a bound, by torch's name for it."""

from __future__ import annotations

from collections.abc import Iterable

from steelman.bounds.activations import SIGMOID, TANH, Kinked, Rectified, Smooth, gelu, limits
from steelman.bounds.affine import Average, Convolution, Linear, Scale, Sum
from steelman.bounds.graph import Call, Graph, OperationRule
from steelman.bounds.movement import Movement
from steelman.bounds.products import Largest, Mixture, Product
from steelman.bounds.program import WAY_OUT
from steelman.errors import InputError

RULES: dict[str, OperationRule] = {
    "_adaptive_avg_pool2d": Average(),
    "_prelu_kernel": Rectified("weight"),
    "_to_copy": Movement(),
    "_unsafe_view": Movement(),
    "add": Sum(),
    "addmm": Linear(),
    "alias": Movement(),
    "avg_pool2d": Average(),
    "bmm": Linear(),
    "cat": Movement(),
    "clamp": Kinked(limits),
    "clamp_max": Kinked(limits),
    "clamp_min": Kinked(limits),
    "clone": Movement(),
    "constant_pad_nd": Movement(),
    "convolution": Convolution(),
    "detach": Movement(),
    "div": Scale(),
    "expand": Movement(),
    "flip": Movement(),
    "gelu": Smooth(gelu),
    "hardtanh": Kinked(limits),
    "index_select": Movement(),
    "leaky_relu": Rectified("negative_slope"),
    "lerp": Mixture(),
    "max_pool2d_with_indices": Largest(),
    "mean": Average(),
    "mm": Linear(),
    "mul": Product(),
    "native_batch_norm": Scale(),
    "neg": Scale(),
    "permute": Movement(),
    "pixel_shuffle": Movement(),
    "pixel_unshuffle": Movement(),
    "reflection_pad2d": Movement(),
    "relu": Rectified(),
    "repeat": Movement(),
    "replication_pad2d": Movement(),
    "roll": Movement(),
    "rsub": Sum(-1.0, swapped=True),
    "select": Movement(),
    "sigmoid": Smooth(lambda _: SIGMOID),
    "slice": Movement(),
    "split": Movement(),
    "split_with_sizes": Movement(),
    "squeeze": Movement(),
    "stack": Movement(),
    "sub": Sum(-1.0),
    "sum": Average(),
    "t": Movement(),
    "tanh": Smooth(lambda _: TANH),
    "transpose": Movement(),
    "unbind": Movement(),
    "unsqueeze": Movement(),
    "upsample_bilinear2d": Average(terms=4),
    "upsample_nearest2d": Movement(),
    "view": Movement(),
}


def rule(call: Call) -> OperationRule:
    """Returns what bounds a node. Raises InputError if nothing does."""
    if call.node.name not in RULES:
        raise InputError(
            f"expected an operation with a bound, got {call.node.name} in {call.node.where}: there are "
            f"{_listed(RULES)}; else {WAY_OUT}"
        )
    found = RULES[call.node.name]
    return Scale() if isinstance(found, Product) and len(call.given) == 1 else found


def ruled(graph: Graph) -> dict[int, OperationRule]:
    """Returns what bounds each node of a network. Raises InputError for the first that nothing bounds."""
    return {index: rule(call) for index, call in graph.calls.items()}


def _listed(names: Iterable[str]) -> str:
    """The kinds of operations, without what only moves values."""
    return ", ".join(name.strip("_") for name in names if not isinstance(RULES[name], Movement))
