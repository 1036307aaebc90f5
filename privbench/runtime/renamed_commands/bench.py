"""Former name of ``privbench.experiment.speed``."""

from privbench.runtime.renamed_commands import refuse

if __name__ == "__main__":
    refuse("bench", "experiment.speed")
