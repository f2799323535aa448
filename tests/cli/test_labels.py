"""What a person reads about labels: how many, the worst by name, where the others are, and no names that steer."""

from firstlight.cli.labels import MAX_SUSPECTS, class_lines, suspect_lines
from firstlight.evaluation.mixed_up import MixedUp


def suspect(image="a.png", label="cat", suggested="dog", flagged=True):
    return {"image": image, "label": label, "suggested": suggested, "score": 0.9, "flagged": flagged}


def test_one_is_told_with_what_it_looks_like_and_where_the_list_is():
    assert list(suspect_lines([suspect()], "run/suspects.csv")) == [
        "1 label is probably wrong:",
        "  a.png: labeled cat, looks like dog",
        "  run/suspects.csv lists it",
    ]


def test_of_many_the_first_are_named_and_the_doubtful_only_counted():
    many = [suspect(f"{number}.png") for number in range(MAX_SUSPECTS + 3)]
    lines = list(suspect_lines([*many, suspect("doubtful.png", flagged=False)], "--json"))
    assert lines[0] == "8 labels are probably wrong, such as:"
    assert [line.split(":")[0].strip() for line in lines[1:-1]] == [f"{number}.png" for number in range(MAX_SUSPECTS)]
    assert lines[-1] == "  --json lists them all, and 1 more that may be wrong"


def test_only_doubtful_labels_are_no_news():
    assert list(suspect_lines([suspect(flagged=False)] * 3, "--json")) == []


def test_names_cannot_steer_the_terminal():
    hostile = "x\x1b[2J\n"
    lines = [
        *suspect_lines([suspect(hostile, hostile, hostile)], "--json"),
        *class_lines([MixedUp((hostile, "b"), (1, 2), (3, 4))], [hostile]),
    ]
    assert all(line.isprintable() for line in lines)


def test_classes_are_told_with_their_counts_and_small_ones_by_name():
    pair = MixedUp(("shirt", "t-shirt"), (20, 1500), (40, 3000))
    assert list(class_lines([pair], ["rare"], "in validation, ")) == [
        "shirt and t-shirt are hard to tell apart: in validation, 20 of 40 and 1,500 of 3,000 look like the other",
        "too few pictures to judge the labels of rare",
    ]
