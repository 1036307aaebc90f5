"""Process isolation of an attack: its process holds the view and nothing else (``isolate=true``).

A view in Python prevents mistakes, not malice: in the process of the harness an attack can reach
the targets through ``gc.get_objects()``, the frames of its callers or the closures of its view.
With ``isolate=true``, ``fit`` and ``reconstruct`` run in a separate process. It receives the
attack, the contents of the view, and features, all by value, and returns images. Queries, which
the harness counts, the logger and the store stay with the harness and are requested over a pipe.
The process holds neither the targets, their labels, the cell's seed nor the defense's draws, and
the edge only if granted. The harness unpickles nothing that comes from it.

Limits: the process belongs to the same user, so it can read files (the data set, the store with its
victims and records), use the network and, where the system permits it, read the memory of other
processes. The attack's module is still imported, its class built and its ``check`` called in the
process of the harness. For an attack that may be malicious, use another user or a container, and
read its code.
"""

from privbench.experiment.isolation.parent import Isolated, require_picklable

__all__ = ["Isolated", "require_picklable"]
