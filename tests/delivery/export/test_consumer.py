"""Whoever uses an export without firstlight gets its answers, by the example in the guide; `verify_export` says so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import firstlight as fl
from firstlight.delivery.export.golden import golden_folder
from firstlight.errors import DataError

EXAMPLE = Path(__file__).parents[3] / "guide" / "how-to" / "onnx_consumer.py"
BLOCKED = """
import runpy, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("firstlight", "torch", "torchvision", "timm", "onnx", "scipy", "sklearn"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Blocker())
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


@pytest.fixture(scope="session")
def example_answers(exported):
    """What the example prints for the golden pictures, run where nothing but ONNX Runtime, Pillow and NumPy is."""
    pictures = sorted(path for path in golden_folder(exported.file).iterdir() if path.suffix in (".jpg", ".png"))
    ran = subprocess.run(
        [sys.executable, "-c", BLOCKED, EXAMPLE, exported.file, *pictures], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_example_of_the_guide_agrees_with_the_golden_pictures(exported, example_answers):
    assert {Path(name).name for name in example_answers} == {"large.jpg", "transparent.png", "turned.jpg"}
    found = fl.verify_export(example_answers, golden_folder(exported.file))
    assert found.ok, str(found)


def test_the_example_is_short_and_written_as_json_it_is_taken_too(exported, example_answers, tmp_path):
    code = [line for line in EXAMPLE.read_text("utf-8").splitlines() if line.strip() and '"""' not in line]
    assert len(code) <= 30
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(example_answers))
    assert fl.verify_export(file, golden_folder(exported.file)).ok


def test_an_export_agrees_with_its_own_golden_pictures(exported):
    found = fl.verify_export(exported.file)
    assert found.ok and max(one.difference for one in found.images) < 1e-5


def test_an_export_is_told_from_the_golden_pictures_of_another(exported, tmp_path):
    golden = golden_folder(exported.file)
    fields = json.loads((golden / "expected.json").read_text())
    fields["images"][0]["probabilities"] = fields["images"][0]["probabilities"][::-1]
    for name in ("large.jpg", "turned.jpg", "transparent.png"):
        (tmp_path / name).write_bytes((golden / name).read_bytes())
    (tmp_path / "expected.json").write_text(json.dumps(fields))
    found = fl.verify_export(exported.file, tmp_path)
    assert [one.agrees for one in found.images] == [False, True, True]
    (tmp_path / "turned.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"turned\.jpg: "):
        fl.verify_export(exported.file, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.onnx", b"no model", "not a model that firstlight exported, or damaged"),
        ("a.pt2", b"no model", "not a model that firstlight exported, or damaged"),
        ("a.txt", b"", "neither an exported model"),
        ("a.json", b"{", "is not JSON"),
    ],
)
def test_a_file_that_is_no_pipeline_is_refused(exported, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        fl.verify_export(tmp_path / name, golden_folder(exported.file))


def test_a_missing_file_or_folder_is_refused(exported, tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        fl.verify_export(tmp_path / "none.onnx", golden_folder(exported.file))
    with pytest.raises(DataError, match="give the folder that export wrote"):
        fl.verify_export(tmp_path / "none.onnx")
    with pytest.raises(fl.UserError, match="name the folder of golden pictures"):
        fl.verify_export([[0.1] * 10] * 3)
