"""Recognition of the true image among candidates, and of its label by a classifier."""

from typing import TYPE_CHECKING

from privbench.evaluation.metrics.base import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from privbench.evaluation.reference import Reference


def _identification(x_hat: "Tensor", reference: "Reference") -> "Tensor":
    return reference.identified(x_hat)


def _identification_class(x_hat: "Tensor", reference: "Reference") -> "Tensor":
    from privbench.evaluation.identification import identified_within_class

    return identified_within_class(
        x_hat, reference.rows, reference.labels, reference.candidates, reference.identified(x_hat)
    )


def _semantic_accuracy(x_hat: "Tensor", reference: "Reference") -> "Tensor":
    # a blind reconstruction takes few values, so each distinct image is classified once
    distinct, which = x_hat.unique(dim=0, return_inverse=True)
    read = reference.evaluator(distinct).argmax(1)[which]
    return read == reference.labels[reference.rows]


IDENTIFICATION = Metric(
    name="identification",
    label="identified",
    interval="wilson",
    failed_as="black",
    compute=_identification,
)
IDENTIFICATION_CLASS = Metric(
    name="identification_class",
    label="identified in its class",
    interval="wilson",
    show=(),
    failed_as="black",
    compute=_identification_class,
)
SEMANTIC_ACCURACY = Metric(
    name="semantic_accuracy",
    label="label recovered",
    interval="wilson",
    show=("run",),
    failed_as="miss",
    compute=_semantic_accuracy,
)
