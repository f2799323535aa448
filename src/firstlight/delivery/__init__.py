"""Delivery: what leaves the house; reads run folders and model files, never the trainer."""
