"""Run an attack in a process of its own, which holds its view and nothing else (``isolate=true``).

A view in Python guards against mistakes, not against malice: in the process of the harness an
attack can walk ``gc.get_objects()``, the frames of its callers or the closures of its view up to
the targets. Under ``isolate=true`` ``fit`` and ``reconstruct`` run in a spawned process. It gets
the attack, what the view holds, and features, all by value; images come back. What must stay with
the harness is requested over a pipe: queries, which the harness counts, the logger, the store.
Neither targets nor labels of targets, the cell's seed, the defense's draws nor the edge, unless
granted, are in that process, and the harness unpickles nothing that comes from it.

What it does not guard against: the process belongs to the same user, so it can read files (the data
set, the store with its victims and records), use the network and, where the system allows it, the
memory of other processes. The attack's module is still imported, its class built and its ``check``
called in the process of the harness. Against an attack that is meant to cheat use another user or a
container, and read its code.
"""

from privbench.experiment.isolation.parent import Isolated, require_picklable

__all__ = ["Isolated", "require_picklable"]
