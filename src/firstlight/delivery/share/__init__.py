"""What tells others about a model: its card."""
