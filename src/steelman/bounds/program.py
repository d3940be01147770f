"""A network as the list of the operations that it ran on a batch: nodes that know where their arguments come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from steelman.errors import InputError

WAY_OUT = "bound it by smoothing (defences.Smoothed), which asks nothing of the network"

ORDERLY = frozenset(
    {"detach", "alias", "clone", "view", "_unsafe_view", "slice", "select", "unsqueeze", "squeeze", "_to_copy"}
    | {"aminmax", "amin", "amax", "min", "max", "any", "all", "ge", "gt", "upsample_bilinear2d", "upsample_nearest2d"}
    | {"constant_pad_nd", "replication_pad2d", "relu", "clamp", "mean", "avg_pool2d"}
)
"""Operations whose result only rises with their tensor, so that the ends of a set bound it over the set."""

_READS = frozenset({"_local_scalar_dense", "is_nonzero", "equal", "nonzero"})


@dataclass(frozen=True)
class Ref:
    """An argument that is the result of a node."""

    node: int


@dataclass(frozen=True, eq=False)
class Node:
    """One operation, or a constant if it has none; the image is node 0.

    named: its arguments by the names of torch's schema, a `Ref` for every tensor.  item: which of several results.
    depends: whether it changes with the image.  orderly: whether it only rises with it.
    random: whether it is drawn, or changes with what is.  owned: whether it was there before the network ran.
    where: the module that ran it, as in "1.head (Linear)".
    """

    index: int
    shape: torch.Size
    op: OpOverload | None = None
    named: dict[str, object] | None = None
    item: int | None = None
    value: Tensor | None = None
    depends: bool = False
    orderly: bool = False
    random: bool = False
    owned: bool = False
    where: str = "the model"

    @property
    def name(self) -> str:
        """What torch calls the operation, as in "convolution"."""
        return "constant" if self.op is None else str(self.op.overloadpacket).removeprefix("aten.")

    @property
    def refs(self) -> tuple[int, ...]:
        """The nodes that its arguments come from, in the order of the schema."""
        return tuple(found for value in (self.named or {}).values() for found in _refs(value))


@dataclass(frozen=True, eq=False)
class Program:
    """What a network ran on a batch of so many images: nodes in order, and the one that is its answer."""

    nodes: list[Node]
    answer: int
    batch: int

    def live(self) -> list[Node]:
        """Returns the nodes that reach the answer and change with the image, in order."""
        wanted = {self.answer}
        for node in reversed(self.nodes[: self.answer + 1]):
            if node.index in wanted:
                wanted.update(node.refs)
        return [node for node in self.nodes if node.index in wanted and (node.depends or node.random)]


def record(model: Callable[[Tensor], Tensor], x: Tensor, low: Tensor, high: Tensor) -> Program:
    """Returns what a network runs on a batch, the same everywhere between two corners.

    low, high: (N, *S), the corners of the set around the images x.
    A network may read its image's values into Python only by what rises with them, as a check of the range does. What
    it reads then lies between what it reads at the two corners. It is run there and at three images between them, and
    must run the same at all: one that changes only in a band between two of these is not found out. Every network is
    run at a corner too: what goes past torch, through numpy say, would be a constant that is another one there.
    Raises InputError if it is in training mode, draws at random, or decides by other values.
    """
    if isinstance(model, nn.Module):
        training = [name or "the model" for name, module in model.named_modules() if module.training]
        if training:
            raise InputError(f"expected a model in evaluation mode, got {training[0]} in training mode: call eval()")
    program, read = _run(model, x)
    for node in program.live():
        if node.random:
            raise InputError(f"expected a deterministic network, got {node.name} at random in {node.where}: {WAY_OUT}")
    between = (torch.lerp(low, high, share) for share in ((0.0, 0.25, 0.5, 0.75, 1.0) if read else (1.0,)))
    if not all(_same(program, _run(model, image)[0]) for image in between):
        raise InputError(f"expected a network that runs the same on the whole set, got one that branches: {WAY_OUT}")
    return program


def _run(model: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Program, bool]:
    x = x.detach().clone()
    recorder = _Recorder(x)
    modules = model.named_modules() if isinstance(model, nn.Module) else ()
    hooks = [hook for name, module in modules for hook in recorder.follow(name, module)]
    try:
        devices = [x.device] if x.is_cuda else []
        with torch.inference_mode(False), torch.random.fork_rng(devices=devices), torch.no_grad(), recorder:
            out = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != len(x):
        came = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise InputError(f"expected logits of shape ({len(x)}, classes), got {came}: the model must return logits")
    return Program(recorder.nodes, recorder.ref(out).node, len(x)), recorder.read


class _Recorder(TorchDispatchMode):
    """Notes every operation that runs under it."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nodes: list[Node] = []
        self.at: dict[int, tuple[int, int, Tensor]] = {}
        self.places: list[str] = ["the model"]
        self.read = False
        self._note(x, depends=True, orderly=True)

    def follow(self, name: str, module: nn.Module) -> Iterator[torch.utils.hooks.RemovableHandle]:
        """Yields the hooks by which the recorder knows what module runs."""
        place = f"{name or 'the model'} ({type(module).__name__})"
        yield module.register_forward_pre_hook(lambda *_: self.places.append(place))
        yield module.register_forward_hook(lambda *_: self.places.pop() and None, always_call=True)

    def ref(self, tensor: Tensor) -> Ref:
        """Returns the node of a tensor; one not seen before is a constant."""
        if id(tensor) not in self.at:
            self._note(tensor, value=tensor, owned=True)
        index, version, _ = self.at[id(tensor)]
        if version != tensor._version:
            raise InputError(
                "expected operations on whole tensors, got one that writes into part of one, before "
                f"{self.places[-1]}: join the parts with torch.cat"
            )
        return Ref(index)

    def __torch_dispatch__(
        self, func: OpOverload, types: object, args: tuple[object, ...] = (), kwargs: dict[str, object] | None = None
    ) -> object:
        named = self._named(func, args, kwargs or {})
        refs = [self.nodes[index] for value in named.values() for index in _refs(value)]
        self._kept(func, named)
        result = func(*args, **(kwargs or {}))
        name = str(func.overloadpacket).removeprefix("aten.")
        if name.endswith("_like") or name.startswith("new_"):  # takes a shape, and no values
            named, refs = {}, []
        depends = any(node.depends for node in refs)
        if name in _READS and depends:
            self._reads(refs, name)
        traits = {
            "depends": depends,
            "orderly": _rises(func, result) and all(node.orderly for node in refs if node.depends),
            "random": torch.Tag.nondeterministic_seeded in func.tags or any(node.random for node in refs),
        }
        several, version = isinstance(result, tuple | list), _version(func, args)
        for item, one in enumerate(result if isinstance(result, tuple | list) else (result,)):
            if not isinstance(one, Tensor):
                continue
            silenced = not depends and name in ("mul", "mul_") and any(_is_zero(value) for value in named.values())
            if silenced or not (named or traits["random"]):
                self._note(one, version, value=one.clone())  # noise that is scaled by zero is none
            else:
                self._note(one, version, op=_functional(func), named=named, item=item if several else None, **traits)
        return result

    def _reads(self, refs: list[Node], name: str) -> None:
        self.read = True
        if not all(node.orderly for node in refs if node.depends):
            raise InputError(
                f"expected a network that runs the same on every image, got {self.places[-1]}, which reads values "
                f"({name}) and may decide by them: {WAY_OUT}"
            )

    def _kept(self, func: OpOverload, named: dict[str, object]) -> None:
        """Refuses what writes into a parameter or a buffer, whose value then is not the one that is looked up later."""
        for argument in func._schema.arguments:
            value = named[argument.name]
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and isinstance(value, Ref) and self.nodes[value.node].owned:
                raise InputError(
                    f"expected a network that changes nothing of its own, got {self.places[-1]}, which writes into a "
                    f"parameter, a buffer or a constant: {WAY_OUT}"
                )

    def _named(self, func: OpOverload, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, object]:
        named: dict[str, object] = {}
        for place, argument in enumerate(func._schema.arguments):
            given = args[place] if place < len(args) else kwargs.get(argument.name, argument.default_value)
            named[argument.name] = mapped(given, Tensor, self.ref)
        return named

    def _note(self, tensor: Tensor, version: int | None = None, **said: object) -> None:
        index = len(self.nodes)
        self.nodes.append(Node(index, tensor.shape, where=self.places[-1], **said))  # type: ignore[arg-type]
        self.at[id(tensor)] = (index, tensor._version if version is None else version, tensor)


def mapped(value: object, kind: type, change: Callable[..., object]) -> object:
    """Returns an argument with everything of a kind in it changed, in lists too."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, list | tuple):
        return [mapped(part, kind, change) for part in value]
    return value


def _refs(value: object) -> Iterator[int]:
    if isinstance(value, Ref):
        yield value.node
    elif isinstance(value, list):
        for part in value:
            yield from _refs(part)


def _rises(func: OpOverload, result: object) -> bool:
    """Whether no value falls where one of its tensor's rises; an index may."""
    name = str(func.overloadpacket).removeprefix("aten.")
    found = result if isinstance(result, tuple | list) else (result,)
    indices = any(isinstance(one, Tensor) and one.dtype == torch.int64 for one in found)
    against_a_number = name not in ("ge", "gt") or func._overloadname == "Scalar"
    return name.rstrip("_") in ORDERLY and not indices and against_a_number


def _is_zero(value: object) -> bool:
    return isinstance(value, int | float) and value == 0


def _version(func: OpOverload, args: tuple[object, ...]) -> int | None:
    """The count of writes that a result will have, where it shares its memory with an argument.

    Torch links the two, and counts what was written in place, only after the operation has been noted.
    """
    for place, argument in enumerate(func._schema.arguments):
        value = args[place] if place < len(args) else None
        if argument.alias_info is not None and isinstance(value, Tensor):
            return value._version + argument.alias_info.is_write
    return None


def _functional(func: OpOverload) -> OpOverload:
    """The operation that returns what an in-place one writes."""
    name = str(func.overloadpacket).removeprefix("aten.")
    if not name.endswith("_") or name.endswith("__"):
        return func
    packet = getattr(torch.ops.aten, name[:-1], None)
    found = getattr(packet, func._overloadname, None)
    return found if isinstance(found, OpOverload) else func


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))


def _same(one: Program, other: Program) -> bool:
    """Whether two programs differ in nothing but what they computed."""
    return (one.answer, len(one.nodes)) == (other.answer, len(other.nodes)) and all(
        (a.op, a.named, a.item, a.shape) == (b.op, b.named, b.item, b.shape)
        and (not a.owned or _equal(a.value, b.value))
        for a, b in zip(one.nodes, other.nodes, strict=True)
    )
