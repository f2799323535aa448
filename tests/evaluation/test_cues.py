"""Cues of whole sets: planted in files, they are found and told once; a set as it is raises no alarm."""

import io

import numpy as np
import pytest
from PIL import Image

from firstlight.data.sources import load_data
from firstlight.delivery.check import check
from firstlight.evaluation.cues import shortcuts_in, told_once
from firstlight.evaluation.shortcut_words import sentence, shortcut_lines
from firstlight.evaluation.shortcuts import Shortcut


def jpeg(pixels: np.ndarray, quality: int = 88, **fields: object) -> bytes:
    exif = Image.Exif()
    for tag, value in fields.items():
        exif[int(tag[1:])] = value
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, exif=exif)
    return file.getvalue()


@pytest.fixture(scope="module")
def scenes():
    """200 smooth images of noise, 48 x 64, and labels of four classes."""
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 256, (200, 6, 8, 3)).astype(np.uint8)
    images = [np.asarray(Image.fromarray(image).resize((64, 48), Image.Resampling.BICUBIC)) for image in coarse]
    return images, np.arange(200) % 4


def changed(cue: str, pixels: np.ndarray, label: int) -> bytes:
    color = (60 * label, 255 - 60 * label, 120)
    image = pixels.copy()
    match cue:
        case "border":
            image[:4], image[-4:], image[:, :4], image[:, -4:] = color, color, color, color
        case "corner bottom right":
            image[-8:, -10:] = color
        case "aspect":
            image = image[:, : 30 + 11 * label]
        case "jpeg":
            return jpeg(image, 60 + 10 * label)
        case "exif camera":
            return jpeg(image, t272=f"Camera {label}")
        case "exif software":
            return jpeg(image, t305=f"Software {label}")
        case "exif date":
            return jpeg(image, t306=f"2024:05:0{label + 1} 10:00:00")
    return jpeg(image)


@pytest.mark.parametrize(
    "cue", ["border", "corner bottom right", "aspect", "jpeg", "exif camera", "exif software", "exif date"]
)
def test_what_is_planted_in_files_is_found_under_its_name(scenes, cue):
    images, labels = scenes
    marked = np.random.default_rng(1).random(200) < 0.6
    files = [
        changed(cue if mark else "", pixels, label)
        for mark, pixels, label in zip(marked, images, labels.tolist(), strict=True)
    ]
    found = check(load_data((files, labels))).shortcuts
    assert max(one.gain for one in found if one.cue == cue) > 0.25
    assert {one.cue for one in found} <= {cue, "size" if cue == "aspect" else cue}


def test_the_same_scenes_as_they_are_raise_no_alarm(scenes):
    images, labels = scenes
    files = [jpeg(pixels, t272=f"Camera {row % 3}") for row, pixels in enumerate(images)]
    assert check(load_data((files, labels))).shortcuts == ()
    assert check(load_data((np.stack(images), labels))).shortcuts == ()


def test_digits_raise_no_alarm_and_a_border_of_one_class_does(digits):
    images, labels = digits
    assert check(load_data((images, labels))).shortcuts == ()
    bordered = images.copy()
    sevens = labels == 7
    bordered[sevens, 0], bordered[sevens, -1], bordered[sevens, :, 0], bordered[sevens, :, -1] = 255, 255, 255, 255
    (found,) = check(load_data((bordered, labels))).shortcuts
    assert found.cue == "border" and found.label == "7"


def test_all_small_pictures_of_one_class_are_told_with_the_figure(scenes):
    images, labels = scenes
    files = [jpeg(pixels[::2, ::2] if label == 2 else pixels) for pixels, label in zip(images, labels, strict=True)]
    (found,) = check(load_data((files, [("cat", "dog", "hat", "owl")[label] for label in labels]))).shortcuts
    assert (found.cue, found.label, found.gain, found.baseline) == ("size", "hat", 1, 0)
    assert sentence(found) == "the size in pixels is the same in 100% of hat, but in only 0% of the other pictures"


def test_rows_that_may_not_be_looked_at_are_not(scenes):
    images, labels = scenes
    files = [jpeg(pixels, 60 + 10 * label) for pixels, label in zip(images[:100], labels[:100].tolist(), strict=True)]
    files += [jpeg(pixels) for pixels in images[100:]]
    samples = load_data((files, labels))
    store = check(samples).store
    assert shortcuts_in(samples, store, np.arange(100)) != ()
    assert shortcuts_in(samples, store, np.arange(100, 200)) == ()


def test_what_follows_from_another_cue_is_not_told_again():
    def named(*cues: str) -> tuple[Shortcut, ...]:
        return tuple(Shortcut(cue, 0.5 - 0.01 * place, 0.1, 1e-9) for place, cue in enumerate(cues))

    def cues(*given: str) -> list[str]:
        return [one.cue for one in told_once(named(*given))]

    assert cues("corner top left", "corner top right", "corner bottom left") == ["border"]
    assert cues("border", "corner top left") == ["border"]
    assert cues("corner top left", "border") == ["corner top left"]
    assert cues("exif camera", "exif fields") == ["exif camera"]
    assert cues("format", "jpeg", "exif fields") == ["format"]
    assert cues("exif fields", "size") == ["exif fields", "size"]


def test_words_escape_names_and_say_what_to_do():
    lines = shortcut_lines([Shortcut("exif camera", 0.9, 0.05, 1e-9, "a\x1bb")])
    assert "\x1b" not in "".join(lines) and "95% of a" in lines[1] and "collect, crop, and save" in lines[-1]
    assert shortcut_lines([]) == []
