"""Evaluation: from logits and labels to numbers with intervals."""
