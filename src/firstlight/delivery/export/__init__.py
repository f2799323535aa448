"""Exports: a trained model as one file for other runtimes, written only after it has given the model's answers."""
