"""From labeled images anywhere to batches on the device: packed, split, and augmented."""
