"""What is minimised: a classifier on labels, on images or on what an attack makes of them, and a purifier."""

from steelman.training.objectives.adversarial import Adversarial, Lesson, madry
from steelman.training.objectives.catalogue import catalogue, objective
from steelman.training.objectives.certified import CertifiedLoss, crown_ibp, ibp
from steelman.training.objectives.classify import Classify, accuracy
from steelman.training.objectives.distil import Distil
from steelman.training.objectives.end_to_end import EndToEndPurifierLoss, Weights
from steelman.training.objectives.fast import Fast, fast
from steelman.training.objectives.free import Free, free
from steelman.training.objectives.guided import guided
from steelman.training.objectives.mart import mart
from steelman.training.objectives.mixed import mixed
from steelman.training.objectives.pairing import logit_pairing
from steelman.training.objectives.purify import Purify
from steelman.training.objectives.trades import trades

__all__ = [
    "Adversarial",
    "CertifiedLoss",
    "Classify",
    "Distil",
    "EndToEndPurifierLoss",
    "Fast",
    "Free",
    "Lesson",
    "Purify",
    "Weights",
    "accuracy",
    "catalogue",
    "crown_ibp",
    "fast",
    "free",
    "guided",
    "ibp",
    "logit_pairing",
    "madry",
    "mart",
    "mixed",
    "objective",
    "trades",
]
