"""What every training is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelman.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from steelman.data import Data
    from steelman.norms import Ball
    from steelman.spec import RunSpec
    from steelman.training import Recipe


@dataclass(frozen=True)
class Given:
    """Images to train on and how to fit.

    epochs: as the user said.  how: the checkpoint, the device and the observer, as trainings take them.
    out: the file to write.
    """

    spec: RunSpec
    images: Data
    recipe: Recipe
    epochs: int | None
    how: dict[str, Any]
    out: Path

    def classifier(self) -> nn.Module:
        """Returns the classifier that --classifier and --weights name."""
        from steelman.pipeline import build
        from steelman.pipeline.folders import reader

        pipeline = build(self.spec.pipeline, self.images)
        return reader(pipeline.classifier, pipeline.preprocess)

    @property
    def fit(self) -> dict[str, Any]:
        """How to fit, the recipe too."""
        return {"recipe": self.recipe, **self.how}

    def ball(self, *, usual: bool = False) -> Ball:
        """Returns what is to be withstood, as --norm and --eps say.

        usual: whether the radius that the field takes for the data set will do where none is said.
        """
        from steelman import norms

        norm, eps = self.spec.attacks.norm, self.spec.attacks.eps
        radius = eps[0] if eps else norms.Linf.usual.get(self.images.id) if usual and norm == "Linf" else None
        if radius is None:
            raise InputError(f"expected --eps, the {norm} radius to withstand on {self.images.name}: say --eps 0.1")
        return getattr(norms, norm)(radius)  # type: ignore[no-any-return]
