"""Transfer learning: a frozen network looks once, the best head is solved for, fine-tuning climbs as far as it pays."""
