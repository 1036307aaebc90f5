"""Commands of earlier versions; each prints its present name and exits with code 2.

``privbench/__init__.py`` appends this folder to the package's path, so that
``python -m privbench.status`` is found here without a module at the top level.
"""

import sys
from typing import NoReturn


def refuse(old: str, new: str) -> NoReturn:
    """Print the present name of a command and exit with code 2.

    Args:
        old: Former module within ``privbench``.
        new: Present module within ``privbench``.
    """
    line = f"python -m privbench.{old} is now python -m privbench.{new}"
    print(f"privbench: {line}", file=sys.stderr)
    sys.exit(2)
