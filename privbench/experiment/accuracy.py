"""The accuracy of a cell: of its deployment, and of its victim without a defense."""

from typing import Any

from torch import Tensor

from privbench.evaluation import utility
from privbench.evaluation.statistics import wilson
from privbench.experiment.deploy import Deployed, undefended
from privbench.experiment.plan import CellPlan
from privbench.experiment.services import Services
from privbench.store import recipes
from privbench.store.artifacts import Artifact
from privbench.victims.chance import chance_warning


def per_image_accuracy(
    plan: CellPlan, services: Services, deployed: Deployed, transmissions: int = 1
) -> Tensor:
    """Share of right answers for each test image ``(M,)``; all attacks on a defense share it.

    Rule: of K transmissions of an image the cloud averages the logits, and answers with the
    largest mean. The share is over ``accuracy_draws`` independent groups of K transmissions,
    group g with the draws numbered g K to g K + K - 1.

    Args:
        plan: Of the cell.
        services: Of the cell.
        deployed: The cell's deployment, or the undefended one.
        transmissions: K. Without a defense all transmissions are equal, so one is sent.
    """
    deployment, test = deployed.deployment, plan.data.test
    random = deployment.channel.strength > 0
    groups, each = (plan.cell.accuracy_draws, transmissions) if random else (1, 1)

    def make() -> Artifact:
        shares = utility.deployment_accuracy(
            deployment,
            test.pixels,
            test.labels,
            seed=plan.seeds.of("defense"),
            device=services.device,
            groups=groups,
            transmissions=each,
        )
        return Artifact({"correct": shares}, {})

    recipe = {
        "victim": deployed.identity,
        "metrics": plan.sources["evaluation.metrics"],
        "split": plan.split if random else None,
        "defense": plan.defense_recipe if random else None,
        "draws": groups,
        "transmissions": each,
        "seed": plan.seeds.of("defense") if random else None,
        "test": test.fingerprint,
        **recipes.harness(),
    }
    return services.store.keep("accuracies", recipe, make).tensors["correct"]


def accuracy_fields(plan: CellPlan, services: Services, deployed: Deployed) -> dict[str, Any]:
    """Return the record's fields on the accuracy with the defense and without."""
    transmissions = plan.cell.transmissions
    correct = per_image_accuracy(plan, services, deployed, transmissions)
    accuracy = float(correct.mean())
    single = correct
    if transmissions > 1:
        single = per_image_accuracy(plan, services, deployed)
    without = accuracy
    if plan.cell.defense.strength > 0:
        bare = undefended(plan, deployed.victim)
        without = float(per_image_accuracy(plan, services, bare).mean())
    return {
        "accuracy_undefended": without,
        "accuracy": accuracy,
        "accuracy_single": float(single.mean()),
        "accuracy_ci95": wilson(accuracy, len(correct)),
        "victim_warning": chance_warning(
            without,
            plan.data.test.labels,
            "the victim",
            "the test images",
            "scores against it say little",
        ),
    }
