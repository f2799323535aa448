"""Check a dataclass of choices: every value has the declared type, is one of the allowed words, and is in range."""

from collections.abc import Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from firstlight.errors import RecipeError

# What other tools call our choices. They are suggested, not accepted: one thing has one name.
OTHER_NAMES = {
    "balance": "class_weight class_weights weighted",
    "batch_size": "batch batchsize bs",
    "clip": "grad_clip clip_grad gradient_clip_val max_grad_norm",
    "color_jitter": "jitter",
    "data_root": "data_dir datadir root",
    "device": "accelerator gpu gpus",
    "dropout": "drop drop_rate",
    "dtype": "amp fp16 mixed_precision precision",
    "epochs": "max_epochs n_epochs nepochs num_epochs num_train_epochs",
    "erase": "random_erasing reprob",
    "finetune": "fine_tune",
    "flip": "fliplr hflip horizontal_flip",
    "group_by": "group groups",
    "hidden": "hidden_layers hidden_sizes hidden_units",
    "img_size": "image_size imagesize imgsz input_size resolution size",
    "label_smoothing": "smoothing",
    "lr": "base_lr eta learning_rate lr0 max_lr",
    "model": "arch architecture backbone net network",
    "optimizer": "opt optim solver",
    "out": "out_dir outdir output output_dir project save_dir",
    "patience": "early_stop early_stopping",
    "recipe": "cfg config",
    "rotate": "degrees rotation rotation_range",
    "schedule": "lr_scheduler sched scheduler",
    "seed": "random_seed random_state",
    "split": "test_size train_split val_split validation_split",
    "time_limit": "max_time timeout",
    "top": "k top_k topk",
    "weight_decay": "l2 wd",
    "weights": "checkpoint pretrained_weights",
    "workers": "jobs n_jobs num_workers threads",
}

TYPE_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def check_choices(choices: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Check every field of a dataclass; None passes where the declared type allows it.

    Args:
        choices: an instance of a dataclass.
        ranges: the lowest and highest allowed number of some fields.

    Raises:
        RecipeError: carries the field and its value, and says what it may be.
    """
    kind: Any = type(choices)
    for name, hint in _hints(kind).items():
        value = getattr(choices, name)
        try:
            if isinstance(value, set | frozenset):  # which msgspec takes for a tuple
                raise msgspec.ValidationError
            msgspec.convert(value, hint)
        except (msgspec.ValidationError, UnicodeError):
            raise RecipeError(_expectation(hint), field=name, value=value) from None
        if name in ranges and value is not None:
            low, high = ranges[name]
            if not low <= value <= high:  # this order also refuses NaN
                raise RecipeError(f"choose a number from {low:g} to {high:g}", field=name, value=value)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return which of `names` an unknown name means: by what other tools call it, or by similarity."""
    from difflib import get_close_matches

    names, asked = list(names), name.lower().replace("-", "_")
    for ours, others in OTHER_NAMES.items():
        if ours in names and asked in others.split():
            return ours
    return next(iter(get_close_matches(asked, names, 1)), None)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of an error about an unknown name: a suggestion from `names`, or nothing."""
    meant = nearest(name, names)
    return f"; did you mean {meant}?" if meant else ""


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _expectation(hint: Any) -> str:
    """Return in words what a value of this type looks like."""
    parts = get_args(hint) if get_origin(hint) in (UnionType, Union) else (hint,)
    words = [str(word) for part in parts if get_origin(part) is Literal for word in get_args(part)]
    if words:
        return f"choose {', '.join(words)}"
    if any(get_origin(part) is tuple for part in parts):
        return "give a list of whole numbers"
    return f"give {' or '.join(TYPE_WORDS.get(part, part.__name__) for part in parts if part is not NoneType)}"
