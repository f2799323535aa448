"""What leaves the house: figures of a run, predictions for files, scores of a model file, the guide as notebooks."""
