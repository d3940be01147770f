"""What a network can answer over a set of images, and where that certifies it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from steelman.bounds.graph import Graph
from steelman.bounds.passes import Bounded, backward, forward
from steelman.bounds.program import WAY_OUT, record
from steelman.bounds.region import Region, region
from steelman.bounds.rules import ruled
from steelman.errors import InputError, unknown
from steelman.norms import Ball
from steelman.progress import OnProgress, Progress
from steelman.threat import Threat

Model = Callable[[Tensor], Tensor]
Set = Threat | Ball | float | Tensor
Method = Literal["ibp", "crown-ibp", "crown"]

METHODS: dict[str, tuple[bool, bool]] = {"ibp": (False, False), "crown-ibp": (False, True), "crown": (True, True)}
"""Each method by name, the cheapest first: whether boxes are tightened, whether the answer is bounded to the image."""


class Bounds(NamedTuple):
    """The least and greatest value of every logit, both (N, K)."""

    lower: Tensor
    upper: Tensor


@dataclass(frozen=True, eq=False)
class Certificates:
    """Where no image of the set around a sample is misclassified.

    holds: (N,) bool.  margin: (N,), the least upper bound found of the largest margin of another class over the true
    one; below 0 where it holds.  by: the method that certified each sample, None where none did.
    """

    holds: Tensor
    margin: Tensor
    by: tuple[str | None, ...]

    @property
    def share(self) -> float:
        """Of the samples, how many are certified."""
        return float(self.holds.double().mean())


def interval(model: Model, x: Tensor, threat: Set) -> Bounds:
    """Returns bounds of the logits by interval bound propagation, (N, K) each.

    model: an nn.Module in evaluation mode, from (N, *S) to logits (N, K).  x: (N, *S), float32 or float64.
    threat: of norm Linf, L2 or L1; a number or (N,) is the eps of an Linf ball in [0, 1].
    The bounds are widened by what rounding can do, in our arithmetic and in the network's own, in the precision of x;
    TF32 and half precision, which round coarser, are outside of this. They can be differentiated by the parameters.
    Raises InputError for a network with an operation that has no bound, for one that is random or in training mode.
    Source: Gowal et al. 2018 (On the effectiveness of interval bound propagation), section 3.
    """
    with _exact():
        net = _net(model, x, threat, tighten=False)
        box = net.boxes.get(net.graph.program.answer)
        assert box is not None
        return Bounds(box.low, box.high)


def crown(model: Model, x: Tensor, threat: Set, intermediate: Literal["ibp", "crown"] = "crown") -> Bounds:
    """Returns bounds of the logits by linear bounds from the answer back to the image, (N, K) each.

    intermediate: how what goes into activations is bounded: by "crown" too, or by "ibp", which is far cheaper.
    The rest is as in `interval`.
    Source: Zhang et al. 2018 (CROWN), with its adaptive slopes; with "ibp", Zhang et al. 2020 (CROWN-IBP).
    """
    if intermediate not in ("ibp", "crown"):
        raise unknown("intermediate bound", intermediate, ("ibp", "crown"))
    with _exact():
        net = _net(model, x, threat, tighten=intermediate == "crown")
        answer = net.graph.program.answer
        box = net.boxes[answer]
        ones = torch.eye(box.low.shape[1], dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
        upper, lower = backward(net, answer, torch.cat([ones, -ones], 1), whole=True).chunk(2, 1)
        return Bounds(torch.maximum(box.low, _down(-lower, x.dtype)), torch.minimum(box.high, -_down(-upper, x.dtype)))


def differences(model: Model, x: Tensor, y: Tensor, threat: Set, method: str = "crown-ibp") -> Tensor:
    """Returns (N, K): upper bounds of each logit less that of the true class, over the set; 0 for the true class.

    y: (N,), the true classes.  method: one of METHODS; with "ibp" the affine end of the network is bounded as one.
    Cross-entropy of these as logits is an upper bound of the network's largest in the set. They can be differentiated
    by the parameters. The rest is as in `interval`.
    Source: Gowal et al. 2018, eq. 8 and 12; Zhang et al. 2020 (CROWN-IBP), section 3.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    with _exact():
        tighten, whole = METHODS[method]
        net = _net(model, x, threat, tighten=tighten)
        return _differences(net, x, _labels(net, x, y), whole=whole)


def margins(model: Model, x: Tensor, y: Tensor, threat: Set, method: str = "crown-ibp") -> Tensor:
    """Returns (N,): an upper bound of the largest margin of another class over the true one; certified where < 0.

    Arguments as in `differences`.
    """
    return _largest(differences(model, x, y, threat, method), y)


def certify(
    model: Model,
    x: Tensor,
    y: Tensor,
    threat: Set,
    *,
    methods: Sequence[str] = ("ibp", "crown-ibp", "crown"),
    batch: int = 32,
    progress: OnProgress | None = None,
) -> Certificates:
    """Returns which samples no image of the set can turn, each by the first method that certifies it.

    methods: of METHODS, the cheapest first; each runs on what the ones before it left open.
    batch: how many images are bounded together, which decides nothing but memory and time.
    progress: hears after every batch how many samples are through.
    A sample that the network misclassifies or that ties is not certified. The rest is as in `interval`.
    """
    for method in methods:
        if method not in METHODS:
            raise unknown("method", method, METHODS)
    if not methods:
        raise InputError(f"expected at least one method, got none: say methods={tuple(METHODS)}")
    if batch < 1:
        raise InputError(f"expected a batch of at least one image, got {batch}")
    known = region(x, threat).threat
    _one_each(x, y)
    margin = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
    by: list[str | None] = [None] * len(x)
    for start in range(0, len(x), batch):
        rest = torch.arange(start, min(start + batch, len(x)), device=x.device)
        for method in methods:
            if not len(rest):
                break
            with torch.no_grad():
                found = margins(model, x[rest], y[rest], known.take(rest), method)
            margin[rest] = torch.minimum(margin[rest], found)
            for index in rest[found < 0].tolist():
                by[index] = method
            rest = rest[~(found < 0)]
        if progress is not None:
            progress(Progress(min(start + batch, len(x)), len(x)))
    return Certificates(margin < 0, margin, tuple(by))


def supported(model: Model, x: Tensor) -> str | None:
    """Returns None if a network can be bounded, else why it cannot.

    x: (N, *S), a few images in [0, 1].
    """
    try:
        _open(model, region(x, 0.1))
    except InputError as error:
        return str(error)
    return None


def _open(model: Model, where: Region) -> Graph:
    if _abstains(model):
        raise InputError(f"expected a classifier that answers always, got one that may abstain: {WAY_OUT}")
    graph = Graph(record(model, where.x, *where.box), where.x)
    ruled(graph)
    if graph.program.answer not in graph.calls:
        raise InputError("expected logits that depend on the image, got constants: look at what the model returns")
    return graph


def _net(model: Model, x: Tensor, threat: Set, *, tighten: bool) -> Bounded:
    where = region(x, threat)
    return forward(_open(model, where), where, tighten=tighten)


def _differences(net: Bounded, x: Tensor, y: Tensor, *, whole: bool) -> Tensor:
    answer = net.graph.program.answer
    classes = net.boxes[answer].low.shape[1]
    own = torch.nn.functional.one_hot(y, classes).to(x.dtype)
    rows = torch.eye(classes, dtype=x.dtype, device=x.device) - own[:, None]
    # the true class's own row would be all zeros: nothing to bound
    others = (torch.arange(classes - 1, device=x.device) >= y[:, None]) + torch.arange(classes - 1, device=x.device)
    rows = rows.gather(1, others[..., None].expand(-1, -1, classes))
    bound = backward(net, answer, rows, whole=False)
    if whole:
        bound = torch.minimum(bound, backward(net, answer, rows, whole=True))
    found: Tensor = -_down(-bound, x.dtype)
    found = torch.where(found.isnan(), torch.inf, found)  # where boxes overflow, nothing is bounded
    return torch.zeros_like(own).scatter(1, others, found)


def _largest(found: Tensor, y: Tensor) -> Tensor:
    return found.scatter(1, y[:, None], -torch.inf).amax(1)


def _labels(net: Bounded, x: Tensor, y: Tensor) -> Tensor:
    classes = net.boxes[net.graph.program.answer].low.shape[1]
    _one_each(x, y)
    if classes < 2:
        raise InputError(f"expected logits of at least two classes, got {classes}")
    if int(y.min()) < 0 or int(y.max()) >= classes:
        wrong = int(y.min()) if int(y.min()) < 0 else int(y.max())
        raise InputError(f"expected labels in [0, {classes}), as the model has so many classes, got {wrong}")
    return y.long()


def _one_each(x: Tensor, y: Tensor) -> None:
    if not isinstance(y, Tensor) or y.is_floating_point() or y.dtype == torch.bool or y.shape != x.shape[:1]:
        came = f"{y.dtype} of shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise InputError(f"expected labels as {len(x)} integers, one for each image, got {came}")


def _down(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A bound from double precision in another, never above it."""
    return (value - torch.finfo(dtype).eps * value.detach().abs()).to(dtype)


def _abstains(model: object) -> bool:
    while isinstance(model, torch.nn.Sequential) and len(model):
        model = model[-1]
    return getattr(model, "abstains", False) is True


@contextmanager
def _exact() -> Iterator[None]:
    """A context without TF32, whose rounding the bounds do not allow for."""
    allowed = torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = False
        with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
