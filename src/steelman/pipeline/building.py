"""A pipeline built from plain values: names, settings and files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from steelman import defences, models
from steelman.data import Data
from steelman.defences import detectors
from steelman.errors import InputError
from steelman.pipeline.folders import FILE, reader
from steelman.pipeline.module import Pipeline

_JUDGED = 1000
"""Clean images by which the threshold of a detector is set."""


class Described(Protocol):
    """What says how a pipeline is built, as a run's `PipelineSpec` does.

    model: shipped as in "mnist/cnn", a name of the catalogue, package.module:factory, or the folder of a saved
    pipeline; the classifier that ships for the data unless told.  weights: safetensors for it.
    defence: in front of it, as `defences.ready` takes it, None or "none" for none.  settings: its own, by name.
    detector: beside it, as `detectors.ready` takes it; it then compares with the defence, which is not in front.
    detector_settings: its own.  fpr: the share of clean images that it may reject.
    """

    @property
    def model(self) -> str | None: ...
    @property
    def weights(self) -> Path | None: ...
    @property
    def defence(self) -> str | None: ...
    @property
    def settings(self) -> Mapping[str, object]: ...
    @property
    def detector(self) -> str | None: ...
    @property
    def detector_settings(self) -> Mapping[str, object]: ...
    @property
    def fpr(self) -> float: ...


def build(
    parts: Described, data: Data, *, device: str = "cpu", code: bool = True, trust_code: bool = False
) -> Pipeline:
    """Returns the pipeline that is described, for the images of a data set, in evaluation mode, tried on an image.

    data: what gives shape and class names, the classifier that ships for it, and the images that set a threshold.
    code: whether the description may name modules and files, which then run; so may the folder of a saved pipeline
    with trust_code.
    Raises InputError for a name that there is not, a classifier that is untrained, what does not read such images as so
    many classes, and a detector without training images to set its threshold by.
    """
    saved = parts.model is not None and (Path(parts.model) / FILE).is_file()
    pipeline = _saved(parts, data, trust_code) if saved else _bare(parts, data, code)
    purifier = _purifier(parts, data, code)
    pipeline, purifier = pipeline.to(device), None if purifier is None else purifier.to(device)
    kept = {key: getattr(pipeline, key) for key in ("preprocess", "classes", "input_shape", "name")}
    if parts.detector is not None:
        gate = _gate(parts, data, reader(pipeline.classifier, pipeline.preprocess), purifier, code)
        said = f"rejecting by {Path(parts.detector).stem}"
        return Pipeline(pipeline.classifier, detector=gate, defence=said, **kept)
    if purifier is None:
        return pipeline
    return Pipeline(pipeline.classifier, purifier=purifier, defence=_said(parts.defence, parts.settings), **kept)


def _bare(parts: Described, data: Data, code: bool) -> Pipeline:
    name, shape, classes = parts.model or f"{data.id}/cnn", data.test.shape, data.test.classes
    if parts.model is None and name not in models.shipped():
        raise InputError(
            f"expected --model for {data.name}, as no classifier ships for it: say package.module:factory, "
            "or --like mnist where that is what they are"
        )
    if name in models.catalogue.shipped and parts.weights is None:
        raise InputError(f"expected --weights for {name}, which is untrained without: give a safetensors file")
    kind = models.catalogue.resolve(name, code=code)
    built = models.build(kind, channels=shape[0], classes=len(classes), weights_file=parts.weights)
    built = models.fitted(built, shape).eval()
    tried(built, data, name, f"logits (1, {len(classes)})", (1, len(classes)))
    return Pipeline(built, classes=classes, input_shape=shape, name=name)


def _saved(parts: Described, data: Data, trust_code: bool) -> Pipeline:
    """A saved pipeline, if it is for such images and may have what else is asked for."""
    pipeline, where = Pipeline.load(str(parts.model), trust_code=trust_code), f"the pipeline in {parts.model}"
    asked: dict[str, object] = {"--weights": parts.weights}
    if pipeline.undefended is not None:
        asked |= {"--defence": None if parts.defence == "none" else parts.defence, "--detector": parts.detector}
    if more := next((option for option, value in asked.items() if value is not None), None):
        raise InputError(f"expected no {more} for {where}, which has its own ({pipeline.defence}): leave it out")
    pipeline.check(data.test.shape, data.test.classes)
    classes = data.test.num_classes
    tried(pipeline, data, where, f"logits (1, {classes})", (1, classes + pipeline.abstains))
    return pipeline


def _purifier(parts: Described, data: Data, code: bool) -> nn.Module | None:
    if parts.defence is None or parts.defence == "none":
        return None
    shape = data.test.shape
    built = defences.ready(parts.defence, parts.settings, data=data.id, channels=shape[0], code=code)
    built = models.fitted(built, shape).eval()
    tried(built, data, parts.defence, f"an image (1, {', '.join(map(str, shape))})", (1, *shape))
    return built


def _gate(parts: Described, data: Data, classifier: nn.Module, purifier: nn.Module | None, code: bool) -> nn.Module:
    """The detector, with a threshold set on training images that only validate."""
    assert parts.detector is not None
    device = next((each.device for each in classifier.parameters()), torch.device("cpu"))
    if purifier is None and f"{data.id}/unet" in defences.shipped():
        purifier = defences.load(f"{data.id}/unet").to(device)
    detector = detectors.ready(parts.detector, parts.detector_settings, classifier, purifier, code=code).to(device)
    _, val = data.split(0)
    clean = val.batch(slice(0, _JUDGED))[0].to(device)
    return defences.reject(detector, classifier, parts.fpr, validation=clean).gate


def _said(name: str | None, settings: Mapping[str, object]) -> str:
    """What a defence is called, as in "jpeg:quality=50"."""
    listed = ",".join(f"{key}={value}" for key, value in settings.items())
    return f"{name or 'none'}:{listed}" if listed else name or "none"


def tried(module: nn.Module, data: Data, name: str, wanted: str, shape: tuple[int, ...]) -> None:
    """Shows a module the first test image, so that what does not fit is found before any work.

    name: its own, for the error.  wanted: its answer in words, of this shape.
    Raises InputError if it does not take the image, and for another answer.
    """
    device = next((each.device for each in module.parameters()), torch.device("cpu"))
    x = data.test.batch([0])[0].to(device)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            out: object = module(x)
    except InputError:
        raise
    except Exception as error:  # what somebody else wrote can raise anything
        told = " ".join(str(error).split())[:200]
        raise InputError(
            f"expected {name} to take images {tuple(x.shape)}, but {type(error).__name__}: {told}"
        ) from error
    came = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
    if not isinstance(out, torch.Tensor) or came != shape:
        raise InputError(f"expected {wanted} of {name} for an image {tuple(x.shape)}, got {came}")
    if not out.is_floating_point() or not bool(torch.isfinite(out).all()):
        got = "NaN or infinite ones" if out.is_floating_point() else out.dtype
        raise InputError(f"expected finite floats of {name} for an image, got {got}")
