"""Each section's facts, against small cases whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact

from firstlight.delivery.report.answers import Answers
from firstlight.delivery.report.confusions import confusions_of, most_confused
from firstlight.delivery.report.crops import lost_of
from firstlight.delivery.report.labels import copies_of, is_unicode, suspects_of, two_labels_of
from firstlight.delivery.report.material import read_run
from firstlight.delivery.report.overview import overview_of
from firstlight.delivery.report.possible import possible_sets
from firstlight.delivery.report.reliability import reliability_of
from firstlight.delivery.report.slices import chance, holm, slices_of
from firstlight.delivery.report.sprites import sprites_of
from firstlight.delivery.report.strangers import strangers_of
from firstlight.delivery.wording import choices_as_options, counted, listed, percent, points
from firstlight.evaluation.confusion import Confusion
from firstlight.runs.outputs import ImageFacts, Outputs
from firstlight.runs.suspects import Suspect


def answers_of(right, confidence=None, folders=None):
    """Answers for two classes, of which these are right; the names are numbers in folders."""
    right = np.asarray(right, bool)
    labels = np.arange(len(right)) % 2
    names = tuple(f"{(folders or [''] * len(right))[place]}/{place}.png" for place in range(len(right)))
    sure = np.full(len(right), 0.9) if confidence is None else np.asarray(confidence, float)
    return Answers(names, labels, np.where(right, labels, 1 - labels), sure, np.where(right, sure, 1 - sure))


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [(0, "0.0%"), (1, "100.0%"), (0.00001, "< 0.1%"), (0.99999, "99.9%"), (0.5, "50.0%"), (0.8467, "84.7%")],
)
def test_a_percentage_is_never_rounded_to_nothing_or_everything(fraction, shown):
    assert percent(fraction) == shown


def test_words_for_numbers_and_lists():
    assert (counted(1, "picture"), counted(2000, "picture"), counted(2, "copy")) == (
        "1 picture",
        "2,000 pictures",
        "2 copies",
    )
    assert (points(0.01), points(-0.021)) == ("1.0 point", "2.1 points")
    assert (
        listed(["a"]) == "a"
        and listed(["a", "b", "c"]) == "a, b, and c"
        and listed(list("abcd"), 2) == "a, b, and 2 more"
    )
    assert choices_as_options("add `drop_leaks` now") == "add --drop-leaks now"


def test_a_bin_holds_answers_of_about_the_same_confidence():
    confidence = np.linspace(0.5, 1, 200)
    right = np.random.default_rng(0).random(200) < confidence
    bins = reliability_of(answers_of(right, confidence))
    assert len(bins) == 10 and [one.accuracy.n for one in bins] == [20] * 10
    assert [one.confidence for one in bins] == sorted(one.confidence for one in bins)
    assert bins[0].accuracy.value == right[:20].mean() and bins[-1].confidence == pytest.approx(confidence[-20:].mean())
    assert len(reliability_of(answers_of([True] * 7))) == 1


@pytest.mark.parametrize("count", [2, 40, 900])
def test_chance_is_fishers_exact_test_of_scipy(count):
    rng = np.random.default_rng(count)
    for some, share in ((0.1, 0.9), (0.5, 0.7), (0.95, 0.02)):
        members, right = rng.random(count) < some, rng.random(count) < share
        table = [[int((right & side).sum()), int((~right & side).sum())] for side in (members, ~members)]
        assert chance(right, members) == pytest.approx(fisher_exact(table).pvalue, rel=1e-9)


def test_holm_is_the_textbook_procedure():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def facts_of(brightness, groups=None):
    count = len(brightness)
    sizes = np.full((count, 2), 64, np.int32)
    return ImageFacts(sizes, np.asarray(brightness, np.float32), tuple(groups or [""] * count))


def test_a_planted_weakness_is_found_and_no_other_one():
    rng = np.random.default_rng(0)
    brightness = rng.random(400)
    right = rng.random(400) < np.where(brightness < np.quantile(brightness, 0.25), 0.5, 0.95)
    found = slices_of(answers_of(right), facts_of(brightness))
    differing = [row for row in found.rows if row.differs]
    assert differing[0].kind == "brightness" and differing[0].compared.startswith("−")
    assert found.rows[0] is differing[0] and "1 kind of pictures is recognized worse" in found.words
    dark = brightness < np.quantile(brightness, 0.25)
    assert differing[0].accuracy.value == pytest.approx(right[dark].mean(), abs=0.02)


def test_chance_alone_hardly_ever_makes_a_kind_differ():
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(60):
        groups = [f"patient {number}" for number in rng.integers(0, 8, 300)]
        found = slices_of(answers_of(rng.random(300) < 0.8), facts_of(rng.random(300), groups))
        alarms += any(row.differs for row in found.rows)
    assert binomtest(alarms, 60, 0.05, alternative="greater").pvalue > 0.01


def test_groups_and_folders_are_looked_at_unless_a_folder_is_a_class():
    places = ["a", "b"] * 50
    by_class = slices_of(answers_of([True] * 100, folders=places), None)
    assert by_class is None, "of each class there is one folder"
    mixed = slices_of(answers_of([True] * 100, folders=["a"] * 50 + ["b"] * 50), None)
    assert [(row.kind, row.name, row.count) for row in mixed.rows] == [("folder", "a", 50), ("folder", "b", 50)]
    assert slices_of(answers_of([True] * 5), facts_of([0.5] * 5)) is None


def test_sets_are_counted_by_their_size_and_whether_they_hold_the_label():
    probabilities = np.array([[0.9, 0.05, 0.05], [0.5, 0.4, 0.1], [0.5, 0.4, 0.1], [0.05, 0.05, 0.9]])
    labels = np.array([0, 1, 2, 0])
    outputs = Outputs(tuple("abcd"), labels, np.log(probabilities).astype(np.float32))
    found = possible_sets(outputs, 1.0, {"set_quantile": 0.65, "coverage": 0.9})
    assert [(row.size, row.count, row.coverage.value) for row in found.rows] == [
        ("1 class", 2, 0.5),
        ("2 classes", 2, 0.5),
    ]
    assert (
        "held the right class for 50.0% of 4 test pictures" in found.words and "1.50 classes on average" in found.words
    )
    assert possible_sets(outputs, 1.0, None) is None


def test_strangers_are_those_above_the_threshold_of_the_model():
    scores = np.linspace(0, 1, 100).astype(np.float32)
    found = strangers_of(scores, {"strangeness": {"threshold": 0.945}}, answers_of([True] * 100), ("a", "b"))
    assert "6 of 100 test pictures (6.0%" in found.words
    assert [tile.image for tile in found.tiles][:2] == ["/99.png", "/98.png"]
    assert strangers_of(None, {"strangeness": {"threshold": 1}}, answers_of([True]), ("a", "b")) is None
    assert strangers_of(scores, None, answers_of([True] * 100), ("a", "b")) is None


def test_what_a_crop_cuts_off_is_a_fraction_of_the_area():
    sizes = np.array([[100, 100], [100, 200], [300, 100], [0, 0]], np.int32)
    assert lost_of(sizes, (3, 64, 64), "crop").tolist() == pytest.approx([0, 0.5, 2 / 3, 0])
    assert lost_of(sizes[:1], (3, 64, 64), "crop:0.5").tolist() == pytest.approx([0.75])
    assert lost_of(sizes, (3, 64, 64), "pad").tolist() == lost_of(sizes, (3, 64, 64), "squash").tolist() == [0] * 4


def test_the_matrix_of_many_classes_holds_those_that_are_confused():
    confusion = np.eye(100, dtype=np.int64) * 5
    confusion[70, 90] = 3
    members = most_confused(Confusion.of(confusion).mistakes(), 100)
    assert len(members) == 30 and {70, 90} <= set(members) and members == sorted(members)
    found = confusions_of(Confusion.of(confusion), tuple(map(str, range(100))), None, set())
    assert found.left_out == 70 and [(pair.true, pair.predicted, pair.count, pair.share) for pair in found.pairs] == [
        ("70", "90", 3, "38%")
    ]


def test_a_square_is_dark_by_the_share_of_its_row():
    found = confusions_of(Confusion.of(np.array([[9, 1], [5, 5]])), ("a", "b"), None, set())
    assert [[square.shade for square in row] for row in found.rows] == [[6, 1], [3, 3]]
    assert found.rows[0][1].words == "1 of 10 pictures of a taken for b"


def test_of_two_labels_each_copy_suggests_the_other():
    group = ({"image": "1", "label": "a"}, {"image": "2", "label": "b"}, {"image": "3", "label": "b"})
    ((first, second, third),) = two_labels_of([group])
    assert (first.suggested, second.suggested, third.suggested) == ("b", "a", "a")


def test_only_so_many_suspects_are_shown_and_all_are_counted():
    found = suspects_of([Suspect(str(number), "a", "b", 1.0, flagged=False) for number in range(250)])
    assert (len(found.shown), found.count) == (200, 250)
    assert is_unicode("é🙂") and not is_unicode("\udcff")


def test_copies_in_several_splits_come_first():
    rows = [
        {"group": group, "kind": "exact", "image": group + split, "label": "a", "split": split}
        for group, splits in (("1", ("train", "train")), ("2", ("train", "test")))
        for split in splits
    ]
    found = copies_of(rows)
    assert [(group.is_leak, len(group.tiles)) for group in found.shown] == [(True, 2), (False, 2)]


def test_sprites_show_each_image_where_its_classes_say(digits):
    images = {str(place): image[..., None] for place, image in enumerate(digits[0][:40])}
    found = sprites_of(images, "s", side=96, budget=10**6)
    assert found.classes["0"] == "sprite sharp s0 x0 y0" and found.classes["39"] == "sprite sharp s0 x7 y1"
    assert found.css.startswith(".s0{--c:32;--r:2;background-image:url(data:image/webp;base64,")


def test_images_are_made_smaller_until_they_fit_the_budget():
    rng = np.random.default_rng(0)
    images = {str(place): rng.integers(0, 255, (96, 64, 3), np.uint8) for place in range(100)}
    large, small = (sprites_of(images, "s", side=96, budget=budget) for budget in (10**7, 200_000))
    assert small.size <= 200_000 < large.size and small.classes.keys() == images.keys()


def test_the_next_steps_say_what_is_wrong_with_the_data_first(kept_run):
    material = read_run(kept_run.folder)
    record = replace(material.record, leaks=2, leaked=(("a", "b"), ("c", "d")), quarantined=1)
    suspects = (Suspect("1", "zero", "one", 1.0, flagged=True), Suspect("2", "zero", "one", 0.6, flagged=False))
    found = overview_of(replace(material, record=record, suspects=suspects))
    assert [step.what for step in found.steps] == [
        "Take 2 groups of copies out of training",
        "Repair or delete 1 picture that cannot be read",
        "Look at 1 label that is probably wrong",
    ]
    assert (
        found.set_aside[0] == "1 picture could not be used." and "the test score may be too good" in found.set_aside[1]
    )
    looked = overview_of(replace(material, record=replace(material.record, test_evaluations=4)))
    assert "has been scored 4 times" in looked.score_words
