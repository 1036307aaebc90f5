"""Former name of ``privbench.sweep.status``."""

from privbench.runtime.renamed_commands import refuse

if __name__ == "__main__":
    refuse("status", "sweep.status")
