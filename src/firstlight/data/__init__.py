"""Turn labeled images from anywhere into batches on the device: packed, split, and augmented."""
