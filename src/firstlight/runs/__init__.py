"""The run folder and its files: what a run leaves on disk is written and read here, and nowhere else."""
