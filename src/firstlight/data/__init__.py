"""Data: from images on disk to batches on the device; knows no model."""
