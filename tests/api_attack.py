"""An attack of a caller's own, in a file as keys need it."""

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits

from privbench.threat import Access, AccessDeniedError
from privbench.threat.access import RIGHTS


@dataclass(frozen=True)
class Probe:
    """A grey image; notes what its view holds."""

    level: float

    @property
    def access(self) -> Access:
        return Access.AUX_IMAGES

    def fit(self, view):
        denied = []
        for name in RIGHTS:
            try:
                getattr(view, name)
            except AccessDeniedError:
                denied.append(name)
        targets = torch.tensor(load_digits().images[:8] / 16)[:, None].float()
        held = sum(bool((view.images == target).flatten(1).all(1).any()) for target in targets)
        view.logger.note(denied=denied, held=held)
        return lambda v: torch.full((len(v), *view.image_shape), self.level)
