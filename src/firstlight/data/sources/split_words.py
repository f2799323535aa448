"""Which split a folder's name means: `train`, `Testing`, `seg_train`, `training_set`, `val2017`."""

import re

from firstlight.data.samples import SPLIT_WORDS, Split

# Words that mean a split if they are the whole name, and also as a part of it. Lists of the Hugging Face Hub have the
# same words for validation and test.
_WORDS = {
    **SPLIT_WORDS,
    **dict.fromkeys(("training", "trainset", "trainingset", "traindata", "trn"), Split.TRAIN),
    **dict.fromkeys(("trainval", "traindev"), Split.TRAIN),
    **dict.fromkeys(("validate", "validating", "valset", "validset", "validationset", "dev", "devset"), Split.VALID),
    **dict.fromkeys(("testing", "tests", "testset", "testdata", "eval", "evaluation"), Split.TEST),
    **dict.fromkeys(("holdout", "heldout"), Split.TEST),
}
_UNLABELED = {"pred", "predict", "prediction", "unlabeled", "unlabelled"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


def split_of(name: str) -> Split | None:
    """Return the split that a folder's name means, in any case; None if it means none, or several.

    >>> split_of("Training"), split_of("seg_test"), split_of("val2017"), split_of("cat")
    (<Split.TRAIN: 0>, <Split.TEST: 2>, <Split.VALID: 1>, None)
    """
    words = [word.casefold() for word in _WORD.findall(name)]
    if (whole := _WORDS.get("".join(words))) is not None:
        return whole
    found = [_WORDS[word] for word in words if word in _WORDS]
    return found[0] if len(found) == 1 else None


def is_split_word(name: str) -> bool:
    """Return whether the whole name means a split, as in `Testing`; `test_tube` may be many things."""
    return name.casefold() in _WORDS


def is_unlabeled(name: str) -> bool:
    """Return whether a folder of this name beside split folders holds pictures without labels, as `seg_pred` does."""
    return any(word.casefold() in _UNLABELED for word in _WORD.findall(name))
