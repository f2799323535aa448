"""The run folder: the names, formats, and types of what a run leaves on disk."""
