"""How the studies' figures are shown: the paper's tables and ours, and what a reader must know of them."""

from __future__ import annotations

from collections.abc import Iterable

from steelman.records import Focus, Presentation, Protocol, Section, SideBySide

PAPERS, OURS = "the paper's purifier", "our purifier"
"""The roles of pictures of one image under one attack."""

_DOWN, _ACROSS = ("defence", "classifier"), ("strength", "protocol")
_BY_EPS = {"down": ("eps", "attack"), "across": ("protocol", "classifier", "defence"), "by_strength": True}

PAPER = (
    Section(table="1a", title="Table 1a · accuracy against ε under FGSM", **_BY_EPS),  # type: ignore[arg-type]
    Section(table="1b", title="Table 1b · accuracy against ε under PGD", **_BY_EPS),  # type: ignore[arg-type]
    Section(
        table="2",
        title="Table 2 · with and without defence",
        down=("strength", "protocol", "classifier"),
        across=("defence",),
        by_strength=True,
    ),
    Section(
        table="3",
        title="Table 3 · comparison, with latency",
        caption="The paper prints 14.80 s for Defense-GAN, 0.11 s for PuVAE and 0.008 s for its own auto-encoder, "
        "timed on other machines in other ways: set beside ours they give an order of magnitude, no more.",
    ),
)
"""The paper's tables. Source: arXiv 2312.03520."""

OWN = (
    Section(
        table="holds",
        title="What holds when the attacker knows it",
        caption="Static: made on the bare cnn, shown to the defence. Adaptive worst: what survives that and the "
        "cascades standard and AutoAttack through the whole pipeline. Certified: what is proved to survive any change "
        "in the ball.",
        down=_DOWN,
        across=("figure",),
        curve_from=None,
        duel=True,
    ),
    Section(
        table="breadth",
        title="One purifier against everything",
        caption="Each attack goes through the whole pipeline. Seen in training: FGSM and PGD in L∞, at some of these "
        "ε. Nothing else was, though APGD and Square work inside a ball that was trained on.",
        down=("strength", "seen", "note"),
        across=("defence",),
        curve_from=3,
    ),
    Section(
        table="defences",
        title="Every defence, unknown to the attacker and known",
        down=_DOWN,
        across=_ACROSS,
        curve_from=None,
        duel=True,
    ),
    Section(
        table="training",
        title="The article's comparison · attacks seen in training and not",
        down=_DOWN,
        across=_ACROSS,
        curve_from=None,
    ),
    Section(
        table="ablation",
        title="Each ingredient of the training, changed by itself",
        down=_DOWN,
        across=_ACROSS,
        curve_from=None,
    ),
)
"""Our tables."""

SIDE_BY_SIDE = SideBySide(
    title="The same attack, before the paper's purifier and before ours",
    text="The attacker knows each pipeline and makes an image for it. The images are the first of different classes "
    "that both pipelines classify correctly unattacked, whatever became of them. Of a random purifier one answer is "
    "shown.",
    roles=(PAPERS, OURS),
)

GLOSSARY = (
    (
        str(Protocol.AS_PUBLISHED),
        "What the paper measured, repeated as its code does it: dropout and batch statistics stay on while the "
        "classifier is attacked and tested, FGSM climbs the raw logit, PGD takes 40 steps of 0.01 and is not "
        "clipped to valid pixels. These figures say whether the paper's method reproduces. They do not say how a "
        "deployed classifier would fare.",
    ),
    (
        "Published figures",
        "Figures under “published” are the paper's (arXiv 2312.03520), printed without intervals and measured as the "
        "protocol as-published tells. Beside a figure of another protocol they show how much the protocol itself "
        "decides. Where nothing was measured here the cell says so.",
    ),
)

LARGEST_CLASS = {"mnist": 0.1135, "fashion-mnist": 0.10}
"""Of the test images."""


def presentation(tables: Iterable[str]) -> Presentation:
    """Returns how these tables are shown: the paper's first, in its order, then ours as they come."""
    known, asked = {section.table: section for section in (*PAPER, *OWN)}, list(tables)
    ordered = [section.table for section in PAPER if section.table in asked]
    ordered += [name for name in asked if name not in ordered and name in known]
    return Presentation(
        sections=tuple(known[name] for name in ordered),
        focus=Focus(defences=("robust-autoencoder", "certified-autoencoder", "unet"), attack="pgd", eps=0.15),
        side_by_side=SIDE_BY_SIDE,
        glossary=GLOSSARY,
        largest_class=LARGEST_CLASS,
    )
