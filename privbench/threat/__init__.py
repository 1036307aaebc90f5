"""The threat model: the rights of an adversary, and the view of a deployment that they allow."""

from privbench.threat.view import Access, AccessDeniedError, AdversaryView, grant

__all__ = ["Access", "AccessDeniedError", "AdversaryView", "grant"]
