"""Our models and training in other libraries: scikit-learn, Optuna, Ray Data."""
