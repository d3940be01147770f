"""What a number means and does not mean, in plain words, for the protocols that are there."""

from __future__ import annotations

from steelman.records import Evaluation, Protocol

_PROTOCOLS = {
    Protocol.AS_PUBLISHED: (
        "Measured as a publication did, with what its code does wrong. The figures say whether its method reproduces. "
        "They do not say how a deployed classifier would fare."
    ),
    Protocol.STATIC: (
        "The same threat with the mistakes mended: evaluation mode, cross-entropy, every adversarial image inside "
        "both the ε-ball and the range of pixels. The attacker sees the classifier alone and does not know that a "
        "defence stands in front. The figure says how well the defence undoes an attack that was not made for it. "
        "It is never robustness."
    ),
    Protocol.ADAPTIVE: (
        "The number that counts. The attacker knows the whole pipeline and differentiates through it, "
        "approximating a stage without a gradient and averaging over a random one. The figure is an upper bound "
        "on robustness: a better attacker can only lower it."
    ),
    Protocol.CERTIFIED: (
        "What is proved: on these images no change inside the ball, by whatever attack, makes the pipeline read "
        "another class. The figure is a lower bound on robustness. Where it is 0 nothing was proved, which says "
        "nothing about attacks."
    ),
}
_GENERAL = (
    (
        "Intervals",
        "An interval in brackets holds the true share for all images of this kind in at least 95 of 100 such samples "
        "(Clopper and Pearson, exact). It covers the choice of images only: not another training run, not another "
        "attack. Figures whose intervals overlap may differ by chance alone.",
    ),
    (
        "One step at a large ε",
        "FGSM at a large ε leaks the label: the sign of the gradient is drawn over the picture, and a purifier "
        "can learn to read it. Accuracy under FGSM can so stand above clean accuracy. That is no merit of the "
        "defence.",
    ),
    (
        "ε of one half and more",
        "For L∞ and ε ≥ 0.5 a plain grey picture lies within reach of every image, so no deterministic classifier "
        "can keep more than its largest class share against a perfect attacker. A higher figure there speaks of the "
        "attack, not of the defence.",
    ),
    (
        "Larger ε, lower accuracy",
        "A larger ball holds the smaller one, so against an attacker who searches it well accuracy never rises "
        "with ε. Where it rises under an iterated attack, the attack has failed.",
    ),
)


def protocols(evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    """Returns each protocol that a row has with what it means, in their order."""
    there, own = {row.protocol for row in evaluation.rows}, dict(evaluation.presentation.glossary)
    return tuple((name, own.get(name, words)) for name, words in _PROTOCOLS.items() if name in there)


def general(evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    """Returns what else a reader must know, in general and of this study: each term with what it means."""
    own = {term: words for term, words in evaluation.presentation.glossary if term not in set(_PROTOCOLS)}
    return tuple((dict(_GENERAL) | own).items())
