"""Search for a better recipe with Optuna: trials on one split, judged on validation, the best one scored once."""
