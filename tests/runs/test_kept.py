from dataclasses import replace

import numpy as np
import pytest

from firstlight.data.dataset import open_dataset
from firstlight.data.recipe import DataRecipe
from firstlight.data.sources import load_data
from firstlight.runs.kept import (
    MOST_RIGHT,
    MOST_WRONG,
    kept_of,
    shown_positions,
    small_images,
    write_check_images,
    write_kept,
)
from firstlight.runs.outputs import CHECK_IMAGES_FILE, SMALL_THUMBNAILS_FILE, Outputs, read_facts, read_thumbnails


def outputs_of(labels, predicted, confidence, classes=3):
    logits = np.zeros((len(labels), classes), np.float32)
    logits[np.arange(len(labels)), predicted] = confidence
    return Outputs(tuple(map(str, range(len(labels)))), np.array(labels, np.int64), logits)


def test_of_each_pair_the_worst_mistakes_and_the_least_sure_answers_are_shown():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 3, 2000), rng.integers(0, 3, 2000)
    outputs = outputs_of(labels, predicted, confidence := rng.uniform(0.1, 5, 2000).astype(np.float32))
    shown = shown_positions(outputs, 1.0)
    assert len(set(shown)) == len(shown)
    for true in range(3):
        for guess in range(3):
            members = np.flatnonzero((labels == true) & (predicted == guess))
            by_confidence = members[np.argsort(confidence[members])]
            expected = by_confidence[:MOST_RIGHT] if true == guess else by_confidence[::-1][:MOST_WRONG]
            assert set(expected.tolist()) == {
                place for place in shown if labels[place] == true and predicted[place] == guess
            }
    right = [bool(labels[place] == predicted[place]) for place in shown]
    assert right == sorted(right), "mistakes come first"


def test_where_there_are_too_many_every_pair_keeps_some(monkeypatch):
    monkeypatch.setattr("firstlight.runs.kept.MOST_SHOWN", 30)
    labels = np.repeat(np.arange(20), 10)
    shown = shown_positions(outputs_of(labels, labels, 3.0, classes=20), 1.0)
    assert len(shown) == 30 and set(labels[shown].tolist()) == set(range(20))


def test_an_empty_split_shows_nothing():
    assert shown_positions(outputs_of([], [], 1.0), 1.0) == []


def test_large_images_become_small_ones_of_the_same_shape():
    pixels = np.random.default_rng(0).integers(0, 255, (2, 300, 150, 3), np.uint8)
    first, second = small_images(pixels, [1, 0])
    assert first.shape == second.shape == (96, 48, 3)
    assert first.mean() == pytest.approx(pixels[1].mean(), abs=1.5)
    (gray,) = small_images(pixels[..., :1], [0])
    assert gray.shape == (96, 48, 1)
    (tiny,) = small_images(pixels[:, :8, :8], [1])
    assert np.array_equal(tiny, pixels[1, :8, :8])


def test_a_run_keeps_images_facts_and_copies(digits, tmp_path):
    images, labels = digits[0][:200], digits[1][:200].copy()
    images = np.concatenate([images, images[:2]])  # two copies
    labels = np.append(labels, labels[:2])
    data = open_dataset(load_data((images, labels)), DataRecipe(split="50/25/25", group_by="^(000)"))
    rows = data.split.test
    outputs = Outputs(
        tuple(data.samples.names[row] for row in rows),
        data.samples.labels[rows],
        np.eye(10, dtype=np.float32)[data.samples.labels[rows]],
    )
    kept = kept_of(data.samples, data.store, rows, outputs, temperature=1.0, split=data.split, group_by="^(000)")
    write_kept(tmp_path, kept)
    thumbnails = read_thumbnails(tmp_path, SMALL_THUMBNAILS_FILE)
    assert set(outputs.names) | {"00000", "00200"} <= set(thumbnails)
    assert np.array_equal(thumbnails[outputs.names[0]], data.store.pixels[rows[0]])
    facts = read_facts(tmp_path)
    assert facts.sizes.tolist() == [[8, 8]] * len(rows)
    assert facts.brightness == pytest.approx(data.store.pixels[rows][:, ::2, ::2].mean(axis=(1, 2, 3)) / 255)
    assert facts.groups == tuple("000" if name.startswith("000") else "" for name in outputs.names)
    lines = (tmp_path / "copies.csv").read_text().splitlines()
    assert lines[0] == "group,kind,image,label,split" and len(lines) == 5
    assert {line.split(",")[2] for line in lines[1:]} == {"00000", "00001", "00200", "00201"}
    for first, second in ((1, 2), (3, 4)):
        assert lines[first].split(",")[-1] == lines[second].split(",")[-1] != "", "copies are in one split"


def test_a_set_without_copies_has_no_table_of_them(digits, tmp_path):
    data = open_dataset(load_data((digits[0][:60], digits[1][:60])), DataRecipe())
    outputs = outputs_of(data.samples.labels[data.split.test], [0] * len(data.split.test), 1.0, classes=10)
    write_kept(tmp_path, kept_of(data.samples, data.store, data.split.test, outputs, temperature=1.0))
    assert not (tmp_path / "copies.csv").exists()


@pytest.mark.parametrize("few", [200, 30])
def test_images_to_check_exports_on_come_from_every_class_of_validation_first(few, digits, tmp_path):
    samples = load_data((digits[0][:600], digits[1][:600]))
    data = open_dataset(samples, DataRecipe(split="50/40/10"))
    split = replace(data.split, valid=data.split.valid[:few])
    write_check_images(tmp_path, samples, data.store, split)
    found = read_thumbnails(tmp_path, CHECK_IMAGES_FILE)
    rows = [samples.names.index(name) for name in found]
    valid = [row for row in rows if row in split.valid]
    assert len(valid) == min(128, few) and len(rows) == max(64, len(valid)) and not set(rows) & set(split.test.tolist())
    assert set(samples.labels[valid].tolist()) == set(samples.labels[split.valid].tolist())
    assert all(np.array_equal(found[samples.names[row]], data.store.pixels[row]) for row in rows)
