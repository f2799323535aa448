"""Devices, seeds, processors, and memory."""
