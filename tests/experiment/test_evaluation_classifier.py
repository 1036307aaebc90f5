"""The evaluation classifier on large images."""

import torch

from privbench.experiment.evaluation_classifier import EvaluationClassifier


def test_a_large_image_is_recognised_as_its_averaged_one():
    """Networks of the same weights answer the same, to rounding, and small images stay whole."""
    small, large = EvaluationClassifier((3, 64, 64), 5), EvaluationClassifier((3, 192, 192), 5)
    assert "average" not in small.state_dict() | dict(small.named_modules())
    large.load_state_dict(small.state_dict())
    images = torch.rand(2, 3, 64, 64)
    enlarged = images.repeat_interleave(3, 2).repeat_interleave(3, 3)
    torch.testing.assert_close(large(enlarged), small(images), atol=1e-5, rtol=1e-5)
