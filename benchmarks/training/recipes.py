"""firstlight's recipes in the contest, chosen on validation data only; the networks are those of every side."""

from firstlight.training.recipe import Recipe

_CHOICES = {
    ("mlp", "mnist"): {"epochs": 5, "batch_size": 512, "lr": 6e-3, "dropout": 0.1, "warmup": 0.3},
    ("mlp", "fashion-mnist"): {"epochs": 8, "batch_size": 512, "lr": 6e-3, "dropout": 0.05, "warmup": 0.3},
}


def recipe_for(net: str, data_set: str, seed: int, epochs: int | None = None) -> Recipe:
    """Give the recipe of a network on a set; the model's own defaults where nothing else was chosen."""
    choices = _CHOICES.get((net, data_set), {})
    return Recipe(model=net, seed=seed, **(choices | ({"epochs": epochs} if epochs else {})))


def in_words(recipe: Recipe) -> str:
    """Tell a complete recipe in a line."""
    return (
        f"{recipe.optimizer} {recipe.lr:g}, batch {recipe.batch_size}, {recipe.schedule} over {recipe.epochs} epochs, "
        f"chosen on validation beforehand; its own looks at validation are counted"
    )
