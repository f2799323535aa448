"""Heatmaps of images of any kind, and their files: every picture gets one or a reason; no file of a user is lost."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import firstlight as fl
from firstlight.delivery.explain import explain_images, heatmaps_over, is_our_heatmap, written
from firstlight.errors import DataError, ImageError, RecipeError
from firstlight.inference.heatmaps.explainer import Explainer
from firstlight.inference.inputs import items_in
from firstlight.models.classifier import Classifier


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    architecture = {"name": "cnn", "width": 4}
    return Classifier(architecture=architecture, classes=("cat", "dog", "owl"), input_size=(3, 24, 24)).eval()


@pytest.fixture
def pictures(tmp_path):
    """Four pictures, two of them with the same name, one file that is none, and a path that leads nowhere."""
    random = np.random.default_rng(0)
    files = []
    for name in ("a/1.png", "b/1.jpg", "b/2.png", "héron 3.png"):
        file = tmp_path / "pictures" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 30, 3), np.uint8)).save(file)
        files.append(str(file))
    broken = tmp_path / "pictures" / "b" / "broken.png"
    broken.write_bytes(b"no picture")
    return [*files[:2], str(broken), *files[2:], str(tmp_path / "nothing.png")]


def explained(model, pictures, folder, **choices):
    return list(written(explain_images(model, items_in(pictures), **choices), folder))


def test_every_picture_gets_a_heatmap_or_its_reason_in_order(model, pictures, tmp_path):
    found = explained(model, pictures, tmp_path / "out")
    assert [one.image for one in found] == pictures
    assert [one.file and one.file.name for one in found] == [
        "1.heatmap.png", "1-2.heatmap.png", None, "2.heatmap.png", "héron 3.heatmap.png", None,
    ]  # fmt: skip
    assert "PNG" in found[2].error or "picture" in found[2].error
    assert "No such file" in found[5].error
    assert {path.name for path in (tmp_path / "out").iterdir()} == {one.file.name for one in found if one.file}
    for one in found:
        assert one.file is None or np.asarray(Image.open(one.file)).shape[1] > 500
    answers = fl.predict(model, pictures)
    for one, answer in zip(found, answers, strict=True):
        assert one.label == answer.label
        assert one.probability == pytest.approx(answer.probability, abs=1e-5) if one.label else True


def test_an_answer_that_is_no_number_is_an_error_of_that_picture(pictures, tmp_path):
    broken = Classifier(architecture={"name": "mlp", "hidden": [4]}, classes=("cat", "dog"), input_size=(3, 4, 4))
    with torch.no_grad():
        broken.network.head.weight[0] = -3e38  # the other class alone would have a probability of 100%
        broken.network.fc1.bias.fill_(1e3)
    found = explained(broken, pictures[:2], tmp_path / "out")
    assert all("no finite number" in one.error for one in found)
    assert json.loads(json.dumps([one.to_json() for one in found], allow_nan=False))[0].keys() == {"image", "error"}
    with pytest.raises(ImageError, match="no finite number"):
        heatmaps_over(broken, [np.zeros((4, 4, 3), np.uint8)], [1])


def test_no_file_of_the_user_is_replaced_and_our_own_are(model, pictures, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "1.heatmap.png").write_bytes(Path(pictures[0]).read_bytes())  # a picture, and not ours
    (out / "2.heatmap.png").symlink_to(pictures[0])
    before = (out / "1.heatmap.png").read_bytes(), Path(pictures[0]).read_bytes()
    first = [one.file.name for one in explained(model, pictures, out) if one.file]
    assert first == ["1-2.heatmap.png", "1-3.heatmap.png", "2-2.heatmap.png", "héron 3.heatmap.png"]
    made = {name: (out / name).read_bytes() for name in first}
    again = [one.file.name for one in explained(model, pictures, out) if one.file]
    assert again == first, "the same call writes the same files"
    assert {name: (out / name).read_bytes() for name in first} == made, "to the last bit"
    other = explained(model, pictures, out, class_="owl", method="gradcam")
    assert [one.file.name for one in other if one.file] == first
    assert (out / first[0]).read_bytes() != made[first[0]]
    assert ((out / "1.heatmap.png").read_bytes(), Path(pictures[0]).read_bytes()) == before
    assert not is_our_heatmap(out / "1.heatmap.png")
    assert is_our_heatmap(out / first[0])


def test_a_picture_that_is_called_like_a_heatmap_does_not_take_its_name(model, pictures, tmp_path):
    again = Path(pictures[0]).with_name("1-2.png")
    again.write_bytes(Path(pictures[0]).read_bytes())
    found = explained(model, [pictures[0], pictures[1], str(again)], tmp_path / "out")
    assert [one.file.name for one in found] == ["1.heatmap.png", "1-2.heatmap.png", "1-2-2.heatmap.png"]


def test_long_names_are_shortened_and_stay_different(model, pictures, tmp_path):
    files = [Path(pictures[0]).with_name("ü" * 120 + letter + ".png") for letter in "ab"]
    for file in files:
        file.write_bytes(Path(pictures[0]).read_bytes())
    found = explained(model, list(map(str, files)), tmp_path / "out")
    assert len({one.file for one in found}) == 2
    assert all(one.file.name.endswith(".heatmap.png") and one.file.exists() for one in found)


def test_a_folder_that_cannot_be_written_is_one_line(model, pictures, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written there .*; choose another folder") as refused:
        explained(model, pictures, tmp_path / "file" / "below")
    assert refused.value.field == "out"


def test_one_image_gives_one_heatmap_and_several_a_list(model, pictures):
    one = fl.explain(model, pictures[0])
    assert isinstance(one, fl.Heatmap)
    assert one.values.shape == (24, 24)
    assert one.picture.shape == (40, 30, 3)
    assert one.part == (5, 0, 30, 30)
    assert one.on_picture().shape == (40, 30)
    several = fl.explain(model, pictures)
    assert isinstance(several, fl.Heatmaps)
    assert len(several) == len(pictures)
    assert fl.explain(model, np.zeros((5, 9, 9, 3), np.uint8))[4].image is None
    assert fl.explain(model, []) == []


def test_json_says_what_was_shown_for_which_class(model, pictures, tmp_path):
    rows = fl.explain(model, pictures, class_="owl", out=tmp_path / "out").to_json()
    assert json.loads(json.dumps(rows)) == rows
    assert list(rows[0]) == ["image", "label", "probability", "class", "class_probability", "method", "heatmap"]
    assert (rows[0]["class"], rows[0]["method"]) == ("owl", "layercam")
    assert Path(rows[0]["heatmap"]).name == "1.heatmap.png"
    assert list(rows[2]) == ["image", "error"]
    shown = fl.predict(model, pictures[0])
    assert rows[0]["class_probability"] == pytest.approx(
        next(guess.probability for guess in shown.top if guess.label == "owl"), abs=1e-5
    )


def test_wrong_choices_are_refused_before_any_picture_is_read(model):
    for choices, message in [
        ({"class_": "bird"}, "no such class; it knows cat, dog, owl"),
        ({"method": "cam"}, "choose auto, gradcam"),
    ]:
        with pytest.raises(RecipeError, match=message):
            fl.explain(model, "nothing.png", **choices)
    with pytest.raises(TypeError, match="the path of a folder"):
        fl.explain(model, "nothing.png", out=3)
    with pytest.raises(TypeError, match="PIL image"):
        fl.explain(model, 3)


def test_the_notebook_shows_the_figure_and_escapes_names(model):
    image = Image.new("RGB", (9, 9))
    shown = fl.explain(model, image)._repr_html_()
    assert "data:image/png;base64," in shown
    made = fl.Heatmap("<script>.png", error="<b>no</b> picture")
    assert "<script>" not in made._repr_html_()
    assert "<b>no" not in made._repr_html_()
    with pytest.raises(DataError, match="has no heatmap"):
        made.draw()
    many = fl.Heatmaps([made] * 13)._repr_html_()
    assert many.count("cannot be used") == 10
    assert "and 3 more" in many


def test_a_picture_without_evidence_says_so(model):
    heat = fl.explain(model, Image.new("RGB", (9, 9)))
    nothing = fl.Heatmap(
        **{name: getattr(heat, name) for name in ("image", "label", "probability", "shown", "shown_probability")},
        method="gradcam",
        values=np.zeros_like(heat.values),
        picture=heat.picture,
        part=heat.part,
    )
    assert f"Nothing in this picture speaks for {heat.shown}" in words_of(nothing)
    assert "does not prove" in words_of(nothing)
    assert f"LayerCAM finds evidence for {heat.shown}" in words_of(fl.explain(model, Image.effect_noise((9, 9), 99)))


def words_of(heatmap):
    figure = heatmap.draw()[0].get_figure()
    found = figure.findobj(match=lambda artist: hasattr(artist, "get_text"))
    return " ".join(" ".join(text.get_text() for text in found).split())


def test_a_figure_shows_the_whole_picture_and_frames_what_the_network_sees(model):
    for shape, framed in [((40, 30, 3), True), ((30, 30, 3), False), ((10, 300, 3), True), ((300, 10, 3), True)]:
        heatmap = fl.explain(model, np.full(shape, 200, np.uint8))
        left, right = heatmap.draw()
        assert left.images[0].get_array().shape == right.images[0].get_array().shape == shape
        assert bool(left.patches) == bool(right.patches) == framed
        assert ("The network sees what is in the frame." in words_of(heatmap)) == framed


def test_reports_get_the_same_heatmaps_as_pictures(model, pictures):
    wholes = [np.asarray(Image.open(file)) for file in pictures[:1]]
    (shown,) = heatmaps_over(model, wholes, [2])
    assert shown.shape == (40, 30, 3)
    assert np.array_equal(shown, fl.explain(model, wholes[0], class_=2).overlay())
    assert heatmaps_over(model, [], []) == []
    assert Explainer(model).method == "layercam"
