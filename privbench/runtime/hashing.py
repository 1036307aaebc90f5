"""Content addresses: equal contents have the same key, in any spelling."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any


def canonical(value: Any) -> Any:
    """Normalise a value's spelling: ``1``, ``1.0`` and ``1e0`` are equal, mappings are sorted.

    Numbers are rounded to 12 significant digits, so that ``range(0.1, 0.6, 0.2)`` meets ``0.3``.

    Raises:
        TypeError: for a value that JSON does not have.

    >>> canonical({"b": 0.30000000000000004, "a": (1, True)}) == {"a": ["1", True], "b": "0.3"}
    True
    """
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return (
            str(value) if abs(value) >= 1e12 and isinstance(value, int) else f"{value + 0.0:.12g}"
        )
    if isinstance(value, Mapping):
        return {str(name): canonical(value[name]) for name in sorted(value, key=str)}
    if isinstance(value, Sequence):
        return [canonical(item) for item in value]
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be part of a key")


def content_hash(parts: Mapping[str, Any]) -> str:
    """Return the key of everything that a result depends on: 20 hexadecimal digits of a SHA-256."""
    text = json.dumps(canonical(parts), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def derive_seed(*parts: Any) -> int:
    """Return a 63-bit seed for the stream that the parts name, e.g. ``(0, "initialisation")``."""
    text = json.dumps(canonical(parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
