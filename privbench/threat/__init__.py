"""The threat model: the rights of an adversary, and the view of a deployment that they allow."""

from privbench.threat.access import Access, AccessDeniedError
from privbench.threat.grant import grant
from privbench.threat.view import AdversaryView

__all__ = ["Access", "AccessDeniedError", "AdversaryView", "grant"]
