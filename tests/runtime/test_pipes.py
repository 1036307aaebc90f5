"""A command whose reader has gone."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from privbench.runtime.pipes import ends_with_its_reader

@ends_with_its_reader
def main():
    sys.stdin.read()  # until the reader is gone
    try:
        print("x" * int(sys.argv[1]))
    except OSError as error:
        sys.exit(f"privbench: {error}")

main()
"""


@pytest.mark.parametrize("size", ["10", "100000"])
def test_a_command_ends_without_a_word_where_nobody_reads(size):
    """Whether the output fits a buffer or is written at once, and is caught as another error."""
    words = [sys.executable, "-c", PROGRAM, size]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe) as running:
        running.stdout.close()
        running.stdin.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0
