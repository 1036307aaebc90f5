"""Former name of ``privbench.tracking.dashboard``."""

from privbench.runtime.renamed_commands import refuse

if __name__ == "__main__":
    refuse("dashboard", "tracking.dashboard")
