"""Keys and seeds."""

import pytest

from privbench.runtime.hashing import content_hash, derive_seed


def test_a_key_forgets_the_spelling_and_nothing_else():
    """Order, integers and the last bits of a float do not move it; a value does."""
    assert content_hash({"a": 1, "b": [0.3]}) == content_hash(
        {"b": [0.30000000000000004], "a": 1.0}
    )
    assert content_hash({"a": 1}) != content_hash({"a": 2})
    assert content_hash({"a": 1}) != content_hash({"a": True})
    assert content_hash({"a": None}) != content_hash({})
    assert derive_seed(0, "a") != derive_seed(0, "b")
    with pytest.raises(TypeError, match="cannot be part of a key"):
        content_hash({"a": object()})
