"""User-facing results: figures of a run, predictions of files, scores of a model file, the guide as notebooks."""
