"""Data: from pictures on disk to batches on the device; knows no model."""
