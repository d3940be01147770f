"""The pipeline: a classifier with what stands before and beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from steelman.defences.detectors import Watched
from steelman.defences.rejecting import Rejecting, abstaining
from steelman.errors import InputError
from steelman.pipeline import folders
from steelman.pipeline.fingerprint import Fingerprint, fingerprint
from steelman.victim import abstains


class Pipeline(nn.Module):
    """A classifier and its defence as one value: (N, C, H, W) in [0, 1] to logits (N, K), with a detector (N, K + 1).

    An image goes through purifier, preprocessing and classifier. A detector looks at the image as it came; where it
    rejects, the last logit leads, which stands for no answer (`abstains`).

    classifier: from what `preprocess` gives to logits (N, K).
    purifier: (N, C, H, W) in [0, 1] to the same.  preprocess: of the classifier, as a normalisation.
    detector: a `defences.Gate`: (N, C, H, W) to (N,), above 0 where it rejects.
    classes: the names of the K classes; () where they are not known.  input_shape: (C, H, W); () where any will do.
    name, defence: what a report calls the classifier and what defends it.
    Raises InputError for a detector beside a classifier that abstains by itself.
    """

    def __init__(
        self,
        classifier: nn.Module,
        *,
        purifier: nn.Module | None = None,
        detector: nn.Module | None = None,
        preprocess: nn.Module | None = None,
        classes: Sequence[str] = (),
        input_shape: Sequence[int] = (),
        name: str = "model",
        defence: str = "none",
    ) -> None:
        super().__init__()
        if detector is not None and abstains(classifier):
            raise InputError(
                "expected no detector beside a classifier that abstains by itself, got both: leave one out"
            )
        self.purifier = purifier
        self.preprocess = preprocess
        self.classifier = classifier
        self.detector = detector
        self.classes = tuple(classes)
        self.input_shape = tuple(input_shape)
        self.name = name
        self.defence = defence
        self.training = classifier.training  # its own flag alone: who is put together is not put into another mode

    @property
    def abstains(self) -> bool:
        """Whether the last logit stands for no answer."""
        return self.detector is not None or abstains(self.classifier)

    @property
    def undefended(self) -> Pipeline | None:
        """The classifier alone, with its preprocessing; None where nothing defends it."""
        if self.purifier is None and self.detector is None:
            return None
        return Pipeline(
            self.classifier,
            preprocess=self.preprocess,
            classes=self.classes,
            input_shape=self.input_shape,
            name=self.name,
        )

    def stages(self) -> tuple[tuple[str, nn.Module], ...]:
        """Returns its parts by name, in the order in which an image meets them.

        Each takes what the one before gave; the detector, the last, takes the image as it came.
        """
        parts = {name: getattr(self, name) for name in ("purifier", "preprocess", "classifier", "detector")}
        return tuple((name, part) for name, part in parts.items() if part is not None)

    def fingerprint(self, shape: Sequence[int] = ()) -> Fingerprint:
        """Returns what tells this pipeline from every other that could answer differently, whatever they are called.

        shape: (C, H, W) of its images, its input shape unless told.
        Raises InputError where neither is known.
        """
        shape = tuple(shape) or self.input_shape
        if not shape:
            raise InputError(
                "expected a pipeline that knows its input, got one that does not: say input_shape=(1, 28, 28)"
            )
        return fingerprint(self, shape, (self.stages(), self.classes, shape))

    def check(self, shape: Sequence[int], classes: Sequence[str]) -> None:
        """Checks that it is for such images of such classes; what it does not know, it does not mind.

        Raises InputError for another shape or number of classes, and for the same classes in another order.
        """
        if self.input_shape and self.input_shape != tuple(shape):
            raise InputError(f"expected images {self.input_shape} for {self.name}, got {tuple(shape)}: resize them")
        turned = sorted(self.classes) == sorted(classes) and self.classes != tuple(classes)
        if self.classes and (turned or len(self.classes) != len(classes)):
            own, came = (", ".join(listed[:3]) + ", …" * (len(listed) > 3) for listed in (self.classes, classes))
            raise InputError(
                f"expected the {len(self.classes)} classes {own} for {self.name}, in this order, got the "
                f"{len(classes)} of {came}: say classes= in their order"
            )

    def beside(self) -> tuple[nn.Module, ...]:
        """Returns the modules that the detector watches and that are not in front of the classifier."""
        own = {id(part) for part in self.modules()}
        return tuple(part for part in self._watched() if part is not None and id(part) not in own)

    def _watched(self) -> Watched:
        watched: Watched = getattr(getattr(self.detector, "detector", None), "watched", Watched())
        return watched

    def save(self, folder: Path | str) -> None:
        """Writes the pipeline to a folder of its own, whole or not at all; `Pipeline.load` reads it.

        A stage is written by its name in the catalogue, its settings and its weights. A module of one's own is named by
        `name` or `defence`, as in path/to/file.py:name, or by where its class stands.
        Raises InputError for a stage that cannot be made again from these, for an input shape that is not known, and
        if the folder cannot be written.
        """
        folder, found = Path(folder), self.fingerprint()
        stages = dict(self.stages())
        compared = self._watched().purifier
        if compared is not None and compared is not self.purifier:
            stages["beside"] = compared
        about = {"name": self.name, "defence": self.defence}
        images = {"classes": list(self.classes), "input_shape": list(self.input_shape)}
        labels = {"classifier": self.name, "purifier": self.defence}
        with folders.whole(folder) as partial:
            folders.write(partial, stages, labels, found, **about, **images)
            try:  # what cannot be loaded again is not saved
                self.load(partial, trust_code=True)
            except InputError as error:
                why = str(error).replace(str(partial), str(folder))
                raise InputError(f"expected a pipeline that names and settings make again, but: {why}") from None

    @classmethod
    def load(cls, folder: Path | str, *, trust_code: bool = False) -> Self:
        """Returns the pipeline that a folder holds, in evaluation mode.

        trust_code: whether the folder may name modules and files, which then run.
        Raises InputError for a folder that is none, is damaged or of another schema, that names code without trust, and
        for a pipeline that answers otherwise than the one that was saved.
        """
        record, made = folders.read(Path(folder), trust_code=trust_code)
        made.pop("beside", None)
        about: dict[str, Any] = {**made, "name": record.name, "defence": record.defence}
        found = cls(classes=record.classes, input_shape=record.input_shape, **about)
        if not found.fingerprint().same(Fingerprint.from_dict(record.fingerprint.model_dump())):
            raise InputError(
                f"expected the pipeline that was saved in {folder}, got one that answers or is made otherwise: "
                "code, settings or weights have changed; make it again with steelman pipeline"
            )
        return found

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves what the detector watches too."""
        for part in self.beside():
            part._apply(fn, recurse)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def forward(self, x: Tensor) -> Tensor:
        given = x
        for part in (self.purifier, self.preprocess):
            x = x if part is None else part(x)
        logits: Tensor = self.classifier(x)
        return logits if self.detector is None else abstaining(logits, self.detector(given))


def wrapped(
    model: nn.Module,
    undefended: nn.Module | None = None,
    *,
    classes: Sequence[str] = (),
    input_shape: Sequence[int] = (),
    name: str = "model",
    defence: str = "none",
) -> Pipeline:
    """Returns any model as a pipeline: one as it is, a guarded or rejecting classifier by its parts.

    model: images in [0, 1] to logits.  undefended: the classifier in it; without, the model is one.
    """
    if isinstance(model, Pipeline):
        return model
    about: dict[str, Any] = {"classes": classes, "input_shape": input_shape, "name": name, "defence": defence}
    if undefended is not None and isinstance(model, nn.Sequential) and len(model) == 2 and model[1] is undefended:
        return Pipeline(undefended, purifier=model[0], **about)
    if undefended is not None and isinstance(model, Rejecting) and model.model is undefended:
        return Pipeline(undefended, detector=model.gate, **about)
    return Pipeline(model, **about)
