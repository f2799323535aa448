"""What the machine offers and how it is used: devices, seeds, processors and memory."""
