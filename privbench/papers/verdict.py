"""Verdicts on a paper's statements."""

HOLDS, FAILS, INCONCLUSIVE = "holds", "does not hold", "inconclusive"
Verdict = tuple[str, str]
"""``HOLDS``, ``FAILS`` or ``INCONCLUSIVE``, and the numbers that decide."""
