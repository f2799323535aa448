"""Heatmaps: where in an image a network finds evidence for a class, as pure functions on tensors."""
