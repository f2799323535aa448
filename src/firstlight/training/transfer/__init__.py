"""Transfer learning: compute features once, solve for the best linear head, then fine-tune if it helps."""
