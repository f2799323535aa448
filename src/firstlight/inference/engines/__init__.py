"""Engines: what runs a trained model on prepared images, with the same answers whichever it is."""
