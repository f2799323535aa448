"""Evaluation: pure functions from logits and labels to scores, each with its 95% interval."""
