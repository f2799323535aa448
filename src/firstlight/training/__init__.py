"""Training: a recipe and labeled images in, a trained and scored model out."""
