"""Training: a recipe in, a scored and saved model out."""
