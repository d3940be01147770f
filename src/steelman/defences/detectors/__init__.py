"""Detectors: what scores images beside a classifier, higher where they are more suspicious."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steelman import weights
from steelman.defences.detectors.binary import Binary
from steelman.defences.detectors.combined import Combined
from steelman.defences.detectors.disagreement import Disagreement
from steelman.defences.detectors.kernel_density import KernelDensity
from steelman.defences.detectors.lid import LID
from steelman.defences.detectors.magnet import ProbabilityDivergence, ReconstructionError
from steelman.defences.detectors.mahalanobis import Mahalanobis
from steelman.defences.detectors.squeezing import FeatureSqueezing
from steelman.defences.detectors.watched import Detector, Watched
from steelman.errors import InputError, unknown
from steelman.registry import Registry, takes
from steelman.weights import Shelf

__all__ = [
    "LID",
    "Binary",
    "Combined",
    "Detector",
    "Disagreement",
    "FeatureSqueezing",
    "KernelDensity",
    "Mahalanobis",
    "ProbabilityDivergence",
    "ReconstructionError",
    "Watched",
    "build",
    "catalogue",
    "fill",
    "load",
    "ready",
    "record",
    "remade",
    "save",
    "shipped",
]

catalogue: Registry[Callable[..., nn.Module]] = Registry(
    "detector",
    {
        kind.name: kind
        for kind in (
            Binary,
            FeatureSqueezing,
            ReconstructionError,
            ProbabilityDivergence,
            Disagreement,
            Mahalanobis,
            LID,
            KernelDensity,
            Combined,
        )
    },
    group="steelman.detectors",
)
"""By name; `build` makes one."""

_shelf = Shelf(Path(__file__).parent / "shipped", catalogue)


def build(
    name: str | Callable[..., nn.Module], classifier: nn.Module, purifier: nn.Module | None = None, **settings: Any
) -> nn.Module:
    """Returns a detector before fitting, by its catalogue name.

    name: or a class or a function, as the catalogue holds them, that gives a `Detector`; it is called with the modules
    that it takes.
    purifier: in front of the classifier, for those that compare with what it makes of an image.
    settings: its own arguments, by name; the members of "combined" as detectors, or as what `settings` says of them.
    Raises InputError for another name, for settings that it does not have, and for no purifier where it needs one.
    """
    name, kind = catalogue.named(name)
    if "purifier" in takes(kind) and purifier is None:
        raise InputError(f"expected a purifier for {name}, which compares with what it makes of an image: give one")
    if name == Combined.name:
        settings["members"] = [_member(member, classifier, purifier) for member in settings.get("members", ())]
    detector = weights.build(name, kind, settings, classifier=classifier, purifier=purifier)
    if not callable(getattr(detector, "score", None)):
        raise InputError(f"expected {name} to give a detector, got {type(detector).__name__} without a method score(x)")
    return detector


def record(detector: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
    """Returns what must stand beside a detector's weights.

    shape: (C, H, W) of the images that it was fitted on.
    """
    digests = detector.watched.digests()  # type: ignore[operator, union-attr]
    return {"detector": detector.name, "arguments": detector.settings, "shape": list(shape), **digests}


def save(detector: nn.Module, path: Path | str, shape: tuple[int, ...]) -> None:
    """Writes a fitted detector without what it watches, whose digests stand beside it.

    shape: (C, H, W) of the images that it was fitted on.
    Raises InputError if the file cannot be written.
    """
    weights.write(detector, path, record(detector, shape))


def shipped() -> list[str]:
    """Returns the names of the detectors that ship fitted, as in "mnist/combined"."""
    return _shelf.names()


def load(
    path: Path | str,
    classifier: nn.Module,
    purifier: nn.Module | None = None,
    kind: str | Callable[..., nn.Module] | None = None,
) -> nn.Module:
    """Returns a fitted detector in evaluation mode, beside the classifier and the purifier that it was fitted with.

    path: a shipped one, as in "mnist/combined", which stands beside mnist/cnn and mnist/unet; or a file.
    kind: what it is, where the file's own name for it is not in the catalogue.
    Raises InputError for another file, or if it was fitted beside another classifier or purifier.
    """
    path = _shelf.find(path)
    state, settings = weights.read(path)
    detector = remade(settings, path, classifier, purifier, kind)
    fill(detector, state, path)
    _try(detector, settings, path)
    return detector.eval()


def ready(
    name: str,
    settings: Mapping[str, object],
    classifier: nn.Module,
    purifier: nn.Module | None = None,
    *,
    code: bool = False,
) -> nn.Module:
    """Returns a detector that can be used, in evaluation mode, beside a classifier and a purifier.

    name: a shipped one; a file; a plug-in's, which must come fitted or with `weights` in `settings`, a file of its fit.
    code: also take "package.module:name" and "path/to/file.py:name", which run.
    Raises InputError for another name, for settings that it does not have, and as `load` does.
    """
    if name in shipped() or (name not in catalogue and ":" not in name and Path(name).is_file()):
        if settings:
            raise InputError(
                f"expected no settings for the detector {name}, which is fitted, got {', '.join(settings)}"
            )
        return load(name, classifier, purifier)
    if ":" not in name and (name not in catalogue or (name in catalogue.shipped and "weights" not in settings)):
        plugins = (each for each in catalogue if each not in catalogue.shipped)
        ways = ("package.module:name", "path/to/file.py:name") if code else ()
        raise unknown("detector", name, [*shipped(), *plugins, "a file of steelman train detector", *ways])
    kind = catalogue.resolve(name, code=code)
    if "weights" in settings:
        return load(str(settings["weights"]), classifier, purifier, kind)
    return build(kind, classifier, purifier, **settings).eval()


def remade(
    settings: Mapping[str, Any],
    path: Path | str,
    classifier: nn.Module,
    purifier: nn.Module | None,
    kind: str | Callable[..., nn.Module] | None = None,
) -> nn.Module:
    """Returns the detector that a file's settings describe, before it is filled.

    kind: what it is, where the file's own name for it is not in the catalogue.
    Raises InputError if they describe none, or one beside another classifier or purifier.
    """
    name, arguments = settings.get("detector"), settings.get("arguments")
    if (kind is None and name not in catalogue) or not isinstance(arguments, dict):
        raise InputError(f"expected a detector in {path}, got {settings.get('defence', name)!r}: load it as what it is")
    for role, module in (("classifier", classifier), ("purifier", purifier)):
        wanted = settings.get(role)
        if wanted is not None and module is not None and wanted != weights.digest(module):
            raise InputError(f"expected the {role} beside which {path} was fitted, got another: give the very same one")
    try:
        return build(kind or str(name), classifier, purifier, **arguments)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"expected the settings of a detector in {path}, got {arguments!r} ({error})") from None


def fill(detector: nn.Module, state: Mapping[str, Tensor], path: Path | str) -> None:
    """Gives a detector what fitting leaves.

    Raises InputError if the state is another's; the detector is then as it was.
    """
    own = detector.state_dict()
    odd = sorted(own.keys() ^ state.keys())
    fixed = dict(detector.named_parameters())
    odd += sorted(name for name in fixed.keys() & state.keys() if fixed[name].shape != state[name].shape)
    if odd:
        raise InputError(f"expected the weights of {type(detector).__name__} in {path}, got those of another: {odd[0]}")
    for name, tensor in state.items():
        place, _, leaf = name.rpartition(".")
        if name in fixed:
            fixed[name].data.copy_(tensor)
        else:
            setattr(detector.get_submodule(place), leaf, tensor.clone())


def _member(member: Any, classifier: nn.Module, purifier: nn.Module | None) -> nn.Module:
    if isinstance(member, nn.Module):
        return member
    return build(member["detector"], classifier, purifier, **member["arguments"])


def _try(detector: nn.Module, settings: Mapping[str, Any], path: Path | str) -> None:
    """Scores one black image, so that tensors of impossible shapes are found here."""
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            found = detector.eval().score(torch.zeros(1, *settings["shape"]))  # type: ignore[operator]
        if found.shape != (1,):
            raise ValueError(f"{tuple(found.shape)} scores for an image")
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"expected a fitted detector in {path}, got a damaged one ({error})") from None
