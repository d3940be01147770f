"""A model under attack: checked at the door, frozen, counted, and put back as it was."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor, nn

from steelman.errors import InputError
from steelman.losses import margin
from steelman.precision import precision

Mode = Literal["eval", "train", "as it is"]
Abstention = Literal["right", "a class"]


class Answer(NamedTuple):
    """What a victim answers at (N, *S): logits (N, K), and the gradient of what was asked.

    value: (N,) and grad: (N, *S), or (N, C) and (N, C, *S) where the gradients of C values were asked for.
    """

    logits: Tensor
    value: Tensor
    grad: Tensor


class Victim:
    """A context in which a model can be attacked.

    Inside, the parameters take no gradient, the model is in `mode`, and what a random model draws comes from a
    generator seeded here; outside, parameters, mode, buffers, `.grad` and torch's global generators are as before.

    model: any callable from (N, *S) to logits (N, K); an nn.Module is frozen.
    mode: "eval", "train" (batch statistics and dropout stay on), or "as it is".
    targeted: y are the wanted classes, so that loss and margin change their sign.
    precision: "fp32", "bf16" or "auto"; logits are float32 or better in any.
    abstention: of a model that may abstain (its last module says `abstains = True`, and its last logit stands for it).
    "right" counts it for the true class, so that a loss rises only towards what is both wrong and accepted: what an
    untargeted attacker wants. "a class" leaves it as one more class, which is never right.
    """

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        *,
        mode: Mode = "eval",
        targeted: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
        precision: str = "fp32",
        abstention: Abstention = "right",
    ) -> None:
        self.model = model
        self.folds = abstention == "right" and not targeted and abstains(model)
        self.mode = mode
        self.sign = -1.0 if targeted else 1.0
        self.seed = seed
        self.device = torch.device(device)
        self.precision = precision
        self.forwards = 0
        self.backwards = 0
        self._opened = ExitStack()
        self._seen = False

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            devices = [self.device] if self.device.type == "cuda" else []
            opened.enter_context(torch.inference_mode(False))
            opened.enter_context(torch.random.fork_rng(devices=devices))
            reseed(self.seed, self.device)
            if isinstance(self.model, nn.Module):
                opened.callback(_restorer(self.model))
                if self.mode != "as it is":
                    self.model.train(self.mode == "train")
                self.model.requires_grad_(False)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    @torch.no_grad()
    def logits(self, x: Tensor, y: Tensor) -> Tensor:
        """Returns (N, K): one forward pass without a gradient.

        Raises InputError for logits of a wrong shape, for NaN or infinite ones, and for labels out of range.
        """
        return self._read(x, y)

    def margin(self, logits: Tensor, y: Tensor) -> Tensor:
        """Returns (N,): positive where the sample is broken: not classified as y alone, or at its target if targeted.

        Two classes in front together are no right answer, and no reached target.
        """
        found = margin(logits, y)
        return -found if self.sign < 0 else torch.where(found == 0, torch.finfo(found.dtype).tiny, found)

    def answer(self, x: Tensor, y: Tensor, ascend: Callable[[Tensor], Tensor]) -> Answer:
        """Returns logits, what is ascended and its gradient at x, with one forward pass and one back for each value.

        ascend: from logits (N, K) to (N,), or to (N, C) for the gradients of C values.
        Raises InputError as `logits` does, and if no gradient reaches the image, or one with NaN.
        """
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            logits = self._read(x, y)
            value = ascend(logits)
            if not value.requires_grad:
                raise InputError(self._cut(x))
            columns = value.unbind(1) if value.dim() == 2 else (value,)
            grads = []
            for at, column in enumerate(columns):
                keep = at + 1 < len(columns)
                grad = torch.autograd.grad(column.sum(), x, allow_unused=True, retain_graph=keep)[0]
                if grad is None:
                    raise InputError(self._cut(x))
                grads.append(grad)
            grad = torch.stack(grads, 1) if value.dim() == 2 else grads[0]
            if bool(grad.isnan().any()):
                raise InputError(
                    "expected a gradient without NaN, got some: on these images the model divides by zero "
                    "or takes the root or logarithm of it"
                )
            self.backwards += len(x) * len(columns)
        return Answer(logits.detach(), value.detach(), grad)

    def beside(self, model: Callable[[Tensor], Tensor]) -> Victim:
        """Returns another model as a victim opened as this one is; its counts go on from here, and so do its draws."""
        other = Victim(
            model, mode=self.mode, seed=self.seed + self.forwards, device=self.device, precision=self.precision
        )
        other.sign = self.sign
        other.folds = self.folds
        other.forwards, other.backwards = self.forwards, self.backwards
        return other

    def _cut(self, x: Tensor) -> str:
        """Says that no gradient reaches the image, and which module cuts it."""
        where = ""
        if isinstance(self.model, nn.Module):
            cutting = _cutting(self.model, x[:1])
            where = f", cut in {cutting}" if cutting else ""
        return (
            "expected a model that can be differentiated, got logits that do not depend on the image by "
            f"autograd{where}: wrap the stage that cuts the gradient in defences.StraightThrough, or take an attack "
            "without gradients, as in square"
        )

    def _read(self, x: Tensor, y: Tensor) -> Tensor:
        logits = self._checked(self._ask(x), x, y)
        return _folded(logits, y) if self.folds else logits

    def _ask(self, x: Tensor) -> Tensor:
        with precision(self.precision, self.device):
            logits = self.model(x)
        self.forwards += len(x)
        return _full(logits)

    def _checked(self, logits: Tensor, x: Tensor, y: Tensor) -> Tensor:
        if not self._seen:
            self._met(logits, x)
        classes = logits.shape[1] - abstains(self.model)
        if len(y) and int(y.max()) >= classes:
            raise InputError(f"expected labels in [0, {classes}), as the model has so many classes, got {int(y.max())}")
        if not bool(torch.isfinite(logits).all()):
            raise InputError("expected finite logits, got NaN or infinite ones: the model overflows on these images")
        return logits

    def _met(self, logits: Tensor, x: Tensor) -> None:
        """Judges the first answer: whether these are logits at all."""
        if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(x) or logits.shape[1] < 2:
            came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError(
                f"expected logits of shape ({len(x)}, classes >= 2), got {came}: the model must return logits"
            )
        flat = logits.detach()
        if bool((flat >= 0).all()) and bool(torch.isclose(flat.sum(1), torch.ones_like(flat[:, 0]), atol=1e-4).all()):
            warnings.warn(
                "the model seems to return probabilities, not logits: attacks on them are weak; leave out its softmax",
                stacklevel=4,
            )
        self._seen = True


def abstains(model: object) -> bool:
    """Returns whether the last logit of a model stands for no answer, as behind a detector that rejects."""
    while isinstance(model, nn.Sequential) and len(model):
        model = model[-1]
    return getattr(model, "abstains", False) is True


def _folded(logits: Tensor, y: Tensor) -> Tensor:
    """Logits without the last, which counts for the true class."""
    own = torch.maximum(logits.gather(1, y[:, None]), logits[:, -1:])
    return logits[:, :-1].scatter(1, y[:, None], own)


def reseed(seed: int, device: torch.device) -> None:
    """Seeds the generators of torch that work on a device uses, and no others."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def check(x: Tensor, y: Tensor, *, low: float = 0.0, high: float = 1.0) -> None:
    """Checks images and labels at the door.

    x: (N, *S), float32 or float64, in [low, high].  y: (N,), integers >= 0.
    Raises InputError that says what was expected, what came and the way out.
    """
    if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64):
        came = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
        way = "x.float()" if isinstance(x, Tensor) and x.is_floating_point() else "x.float() / 255"
        raise InputError(f"expected images as a float32 or float64 tensor, got {came}: convert them with {way}")
    if x.dim() < 2 or not x.numel():
        raise InputError(f"expected at least one image, as (N, *shape), got shape {tuple(x.shape)}")
    if not isinstance(y, Tensor) or y.is_floating_point() or y.dtype == torch.bool or y.shape != x.shape[:1]:
        came = f"{y.dtype} of shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise InputError(f"expected labels as {len(x)} integers, one for each image, got {came}")
    if int(y.min()) < 0:
        raise InputError(f"expected labels >= 0, got {int(y.min())}")
    least, most = float(x.min()), float(x.max())
    if math.isnan(least) or least == low == -math.inf or most == high == math.inf:
        raise InputError("expected finite images, got NaN or infinite ones: look at how they were loaded")
    if least < low or most > high:
        beyond = f"a maximum of {most:g}" if most > high else f"a minimum of {least:g}"
        way = "divide by 255" if most > 2 else "put the normalisation inside the model"
        raise InputError(
            f"expected images in [{low:g}, {high:g}], got {beyond}: {way}, or say Threat(..., low=…, high=…)"
        )


def _full(logits: Tensor) -> Tensor:
    """Margins of half-precision logits tie and round; in single precision only their values do."""
    return logits.float() if isinstance(logits, Tensor) and logits.dtype in (torch.bfloat16, torch.float16) else logits


def _restorer(model: nn.Module) -> Callable[[], None]:
    """What puts the modes, the need of gradients and the buffers of a model back."""
    modes = [(module, module.training) for module in model.modules()]
    wants = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]

    def restore() -> None:
        for module, training in modes:
            module.training = training
        for parameter, wanted in wants:
            parameter.requires_grad_(wanted)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)

    return restore


def _cutting(model: nn.Module, x: Tensor) -> str | None:
    """The innermost module that takes a tensor with a gradient and gives one without; None if none is seen to."""
    names = {module: f"{name or 'the model'} ({type(module).__name__})" for name, module in model.named_modules()}
    found: list[str] = []

    def look(module: nn.Module, given: tuple[object, ...], out: object) -> None:
        takes = any(isinstance(part, Tensor) and part.requires_grad for part in given)
        if takes and isinstance(out, Tensor) and not out.requires_grad:
            found.append(names[module])

    hooks = [module.register_forward_hook(look) for module in model.modules()]
    try:
        with torch.enable_grad():
            model(x.detach().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None
