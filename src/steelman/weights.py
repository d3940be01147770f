"""Weights as safetensors with their settings: written whole or not at all, and never unpickled."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from steelman.errors import InputError, unknown
from steelman.files import put_bytes
from steelman.registry import Registry, make

Settings = Mapping[str, object]


def write(module: nn.Module, path: Path | str, settings: Settings, *, half: bool = False) -> None:
    """Writes a module's state and its settings to one safetensors file, atomically.

    settings: JSON values that say how the module is built and how it was trained.
    half: store single precision in 16 bits, in half the space; what is read again is rounded to 11 bits, in single
    precision.
    Raises InputError if the file cannot be written, or if a number is too large for 16 bits.
    """
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
    if half:
        state = {name: _halved(name, tensor) for name, tensor in state.items()}
    put_bytes(Path(path), save(state, metadata={"settings": json.dumps(settings, sort_keys=True)}))


def _halved(name: str, tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.float32:
        return tensor
    small = tensor.half()
    if not bool(torch.isfinite(small).all()):
        raise InputError(
            f"expected weights that 16 bits can hold, up to 65,504, got larger ones in {name}: leave half out"
        )
    return small


def read(path: Path | str) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Returns (state, settings) of a safetensors file; what is stored in 16 bits comes in single precision.

    Raises InputError if the file is missing, truncated, a pickle or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"expected a weights file at {path}, found none: check the path")
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: _single(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        if _is_pickle(path):
            raise InputError(
                f"expected safetensors in {path}, got a pickle: pickles can run code and are never loaded; "
                "convert it with safetensors.torch.save_file"
            ) from None
        raise InputError(
            f"expected safetensors in {path}, got a damaged or other file ({error}): fetch it again"
        ) from None
    try:
        settings = json.loads(metadata.get("settings", "{}"))
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise InputError(f"expected the settings in {path} as a JSON object, got {metadata.get('settings')!r}")
    return state, settings


def build(name: str, kind: Callable[..., nn.Module], settings: Settings, **offered: object) -> nn.Module:
    """Returns the module that a function or a class of a catalogue gives.

    name, settings, offered: as `registry.make` has them.
    Raises InputError for settings that it does not have or cannot use, and if it gives no module.
    """
    module: object = make(name, kind, settings, **offered)
    if not isinstance(module, nn.Module):
        raise InputError(f"expected {name} to give an nn.Module, got {type(module).__name__}: name what builds one")
    return module


def rebuild(kinds: Mapping[str, Callable[..., nn.Module]], kind: object, path: Path | str) -> nn.Module:
    """Returns a module of one of these kinds, built as a file's settings say and filled with its weights.

    Nothing is allocated before the shapes agree.
    Raises InputError if the settings do not describe such a module, or the weights are of another.
    """
    state, settings = read(path)
    arguments = settings.get("arguments")
    small = isinstance(arguments, dict) and all(map(_is_small, arguments.values()))
    if kind not in kinds or not small:
        raise InputError(f"expected settings of {' or '.join(kinds)} in {path}, got {kind!r} with {arguments!r}")
    try:
        with torch.device("meta"):
            module = kinds[str(kind)](**arguments)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"expected settings of {kind} in {path}, got {arguments!r} ({error})") from None
    _check_fits(module, state, path)
    module.load_state_dict(state, assign=True)
    return module.eval()


@dataclass(frozen=True)
class Shelf:
    """Weights that ship: files under one folder, called "data set/name", as in "mnist/unet".

    kinds: the catalogue of what they can be; their settings say which, under the word for what it holds.
    """

    folder: Path
    kinds: Registry[Callable[..., nn.Module]]

    def names(self) -> list[str]:
        """Returns the names of what ships."""
        return sorted(
            path.relative_to(self.folder).with_suffix("").as_posix() for path in self.folder.glob("*/*.safetensors")
        )

    def find(self, name: Path | str) -> Path:
        """Returns the file of what ships under this name, or of a file as it is.

        Raises InputError if there is neither.
        """
        path = self.folder / f"{name}.safetensors" if str(name) in self.names() else Path(name)
        if not path.is_file():
            raise unknown(self.kinds.kind, str(name), [*self.names(), "a safetensors file"])
        return path

    def load(self, name: Path | str) -> nn.Module:
        """Returns a module that ships under this name, or of a file, in evaluation mode.

        Raises InputError if there is neither, or it is of another kind.
        """
        path = self.find(name)
        kind = read(path)[1].get(self.kinds.kind)
        if isinstance(kind, str) and ":" in kind:
            raise InputError(
                f"expected a {self.kinds.kind} of the catalogue in {path}, got {kind!r}, which would run code: name it "
                f"beside the weights, as {kind}:weights={path}, or by --model and --weights"
            )
        return rebuild(self.kinds, kind, path)


def fill(module: nn.Module, path: Path | str) -> dict[str, object]:
    """Loads a safetensors file into a module of the same layout and returns the file's settings.

    Raises InputError if the file is unreadable or belongs to another network; the module is then as it was.
    """
    state, settings = read(path)
    _check_fits(module, state, path)
    module.load_state_dict(state)
    return settings


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _is_small(value: object) -> bool:
    """Whether a stranger's setting is a number or a word that cannot ask for a huge module."""
    if isinstance(value, str):
        return len(value) <= 64
    return isinstance(value, int | float) and 0 <= value <= 4096


def _check_fits(module: nn.Module, state: Mapping[str, Tensor], path: Path | str) -> None:
    own = module.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    odd = sorted(name for name in own.keys() & state.keys() if own[name].shape != state[name].shape)
    if missing or extra or odd:
        where = (missing or extra or odd)[0]
        what = (
            "is missing from"
            if missing
            else "is unknown to the model but stands in"
            if extra
            else "has another shape in"
        )
        raise InputError(
            f"expected the weights of {type(module).__name__}, got those of another network: "
            f"{where!r} {what} {path} ({len(missing)} missing, {len(extra)} unknown, {len(odd)} of another shape)"
        )


def digest(module: nn.Module) -> str:
    """Returns the SHA-256, in hex, of a module's state: names, shapes and bytes."""
    sha = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        sha.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        sha.update(
            tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        )
    return sha.hexdigest()


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as a pickle and not as the length of a safetensors header, which can start alike."""
    with path.open("rb") as file:
        head = file.read(9)
    return zipfile.is_zipfile(path) or (head[:1] == b"\x80" and head[8:] != b"{")
