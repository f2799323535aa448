"""Transfer learning: features once, the best linear head on them, then fine-tuning as far as it helps."""
