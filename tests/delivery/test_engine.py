"""An export is used only if it is known to answer as the model does; auto does not open what nobody has checked."""

import json
import math
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import firstlight as fl
from firstlight.cli.entry import main
from firstlight.delivery import engine as engine_module
from firstlight.delivery import known_exports
from firstlight.delivery.engine import engine_for, remember_export
from firstlight.errors import RecipeError, UserError
from firstlight.inference.engines.onnx_engine import OnnxEngine
from firstlight.inference.engines.torch_engine import TorchEngine
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import load_model, save_model
from firstlight.progress import announcements_to
from firstlight.verified import read_line

FASTER, SLOWER = {"torch": 2.0, "onnx": 1.0}, {"torch": 1.0, "onnx": 2.0}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own, and speeds that no other program changes."""
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(known_exports, "speeds_of", lambda *_: FASTER)
    monkeypatch.setattr(engine_module, "others_are_working", lambda: False)
    return tmp_path / "cache"


@pytest.fixture
def folder(digit_run, tmp_path):
    """A copy of a run folder."""
    return shutil.copytree(digit_run.folder, tmp_path / "run")


@pytest.fixture
def model(folder):
    return load_model(folder / "model.safetensors")


@pytest.fixture
def exports(exported, monkeypatch):
    """How often an export was made; in its place, the one file is copied."""
    made = []

    def export(_model, to, *, out, golden):
        assert not golden, "a cache needs none"
        made.append(to)
        shutil.copy(exported.file, out)

    monkeypatch.setattr("firstlight.delivery.export.export.export_model", export)
    return made


@pytest.fixture
def beside(folder, exported):
    """An export of the model in its folder, which nobody has checked here."""
    return shutil.copy(exported.file, folder / "model.onnx")


@pytest.fixture
def notes():
    told = []
    with announcements_to(told.append):
        yield told


def edited(file, **changes):
    """Change what a file says about itself."""
    proto = onnx.load(file)
    [entry] = [entry for entry in proto.metadata_props if entry.key == "firstlight"]
    entry.value = json.dumps(json.loads(entry.value) | changes)
    onnx.save(proto, file)


def test_torch_is_torch_whatever_is_there(model, beside, notes):
    remember_export(model, beside)
    assert isinstance(engine_for(model, "torch"), TorchEngine)
    assert notes == []


def test_another_word_is_refused_with_the_three(model):
    with pytest.raises(RecipeError, match="engine = 'tensorrt': choose auto, torch, or onnx"):
        engine_for(model, "tensorrt")


def test_auto_takes_an_export_that_was_made_here(model, beside, notes):
    remember_export(model, beside)
    assert isinstance(engine_for(model), OnnxEngine)
    assert notes == []


def test_auto_takes_the_faster_engine_and_measures_once(model, beside, monkeypatch):
    measured = []
    monkeypatch.setattr(known_exports, "speeds_of", lambda *_: measured.append(1) or SLOWER)
    remember_export(model, beside)
    assert [type(engine_for(model)) for _ in range(3)] == [TorchEngine] * 3
    assert measured == [1]
    monkeypatch.setattr(known_exports, "this_machine", lambda threads: f"another one, {threads}")
    assert [type(engine_for(model)) for _ in range(3)] == [TorchEngine] * 3
    assert measured == [1, 1]


def test_auto_does_not_open_what_nobody_has_checked_and_says_so(model, beside, notes, monkeypatch):
    monkeypatch.setattr(engine_module, "OnnxEngine", lambda *_: pytest.fail("it was opened"))
    assert isinstance(engine_for(model), TorchEngine)
    assert notes == [f"note: {beside} is not used: it has not been checked here; `engine` onnx checks it"]


def test_onnx_checks_the_file_beside_the_model_once_and_then_auto_takes_it(model, beside, notes, exports):
    assert isinstance(engine_for(model, "onnx"), OnnxEngine)
    assert notes == ["note: checking the ONNX file beside the model against it, once"]
    assert isinstance(engine_for(model, "onnx"), OnnxEngine)
    assert isinstance(engine_for(model, "auto"), OnnxEngine)
    assert len(notes) == 1 and exports == []


def test_a_file_that_changed_by_one_byte_is_not_known_any_more(model, beside, notes):
    remember_export(model, beside)
    content = bytearray(beside.read_bytes())
    content[len(content) // 2] ^= 1
    beside.write_bytes(content)
    assert isinstance(engine_for(model), TorchEngine)
    assert len(notes) == 1


def plant(file, name: str, change) -> None:
    """Change the weights of an export."""
    proto = onnx.load(file)
    [tensor] = [tensor for tensor in proto.graph.initializer if tensor.name == name]
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))
    onnx.save(proto, file)


def hostile(file) -> None:
    proto = onnx.load(file)
    proto.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    proto.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    file.write_bytes(proto.SerializeToString())


def other_weights(file) -> None:
    proto = onnx.load(file)
    largest = max(proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    plant(file, largest.name, lambda weights: weights * 1.5)


WRONG = {
    "another model": (lambda file: edited(file, model_sha256="0" * 64), "export of another model"),
    "another version": (lambda file: edited(file, format=99), "another version of firstlight"),
    "int8": (lambda file: edited(file, precision="int8"), "int8, not float32"),
    "no metadata": (lambda file: file.write_bytes(without_metadata(file)), "not exported by firstlight"),
    "other weights": (other_weights, "does not answer as the model does"),
    "damaged": (lambda file: file.write_bytes(file.read_bytes()[:1000]), "damaged"),
    "empty": (lambda file: file.write_bytes(b""), "damaged"),
    "hostile": (hostile, "refers to other files"),
    "huge": (lambda file: file.write_bytes(bytes(2**26 + 2**22)), "much larger"),
}


def without_metadata(file) -> bytes:
    proto = onnx.load(file)
    del proto.metadata_props[:]
    return proto.SerializeToString()


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_export_of_this_model_is_refused_by_onnx_and_left_alone_by_auto(kind, model, beside, notes):
    plant_it, reason = WRONG[kind]
    plant_it(beside)
    for _ in range(2):  # the second time from what is remembered
        with pytest.raises(RecipeError, match=reason) as told:
            engine_for(model, "onnx")
        assert str(beside) in str(told.value) and "\n" not in str(told.value)
        assert "export the model again" in str(told.value)
    notes.clear()
    assert isinstance(engine_for(model), TorchEngine)
    assert len(notes) == 1 and notes[0].startswith(f"note: {beside} is not used: ")


def test_without_images_to_check_it_on_onnx_says_what_to_do(model, folder, beside, exports):
    (folder / "outputs" / "check_images.safetensors").unlink()
    what_to_do = "no pictures to check an export of this model on; export it first, .* `check`, or choose torch"
    with pytest.raises(RecipeError, match=what_to_do):
        engine_for(model, "onnx")
    remember_export(model, beside)  # as after an export with `check`
    assert isinstance(engine_for(model, "onnx"), OnnxEngine)


def test_without_images_nothing_is_made_either(model, folder, monkeypatch):
    (folder / "outputs" / "check_images.safetensors").unlink()
    with pytest.raises(RecipeError, match="no pictures to check"):
        engine_for(model, "onnx")
    assert isinstance(engine_for(model, images=math.inf), TorchEngine)


def test_onnx_makes_an_export_once_says_so_and_leaves_the_run_folder_alone(model, folder, notes, exports, cache):
    before = sorted(folder.rglob("*"))
    for wanted in ("onnx", "onnx", "auto"):
        assert isinstance(engine_for(model, wanted), OnnxEngine)
    assert exports == ["onnx"]
    assert notes == ["note: writing an ONNX file of the model to the cache, once; this takes a few seconds"]
    assert sorted(folder.rglob("*")) == before
    assert len(list(cache.rglob("*.onnx"))) == 1


def test_a_damaged_file_in_the_cache_is_made_again(model, exports, cache):
    engine_for(model, "onnx")
    [file] = cache.rglob("*.onnx")
    file.write_bytes(b"damaged")
    assert isinstance(engine_for(model, "auto"), TorchEngine)
    assert isinstance(engine_for(model, "onnx"), OnnxEngine)
    assert exports == ["onnx", "onnx"]


@pytest.mark.parametrize("memory", ["", "{", "[]", '{"refusal": 3}', '{"refusal": null, "speeds": {"x": {}}}'])
def test_a_damaged_memory_of_an_export_is_none(memory, model, beside, cache):
    remember_export(model, beside)
    [file] = cache.rglob("*.known")
    file.write_text(memory)
    assert isinstance(engine_for(model), TorchEngine)
    assert isinstance(engine_for(model, "onnx"), OnnxEngine)


@pytest.mark.parametrize(
    ("work", "is_made"),
    [((1, 1e9), False), ((99, 1e9), False), ((1000, 59), False), ((1000, 61), True), ((math.inf, 0), True)],
)
def test_auto_makes_an_export_only_where_torch_would_take_a_minute(work, is_made, model, exports, monkeypatch):
    images, milliseconds = work
    monkeypatch.setattr(engine_module, "milliseconds_of", lambda *_: milliseconds)
    assert isinstance(engine_for(model, images=images), OnnxEngine if is_made else TorchEngine)
    assert exports == ["onnx"] * is_made


def test_a_network_that_cannot_be_exported_stays_with_torch_and_is_tried_once(model, notes, monkeypatch):
    tried = []

    def export(*_args, **_choices):
        tried.append(1)
        raise UserError("the network sphinx cannot be exported: no word for riddles")

    monkeypatch.setattr("firstlight.delivery.export.export.export_model", export)
    for _ in range(2):
        assert isinstance(engine_for(model, images=math.inf), TorchEngine)
    assert tried == [1]
    assert notes[1:] == [
        "note: there is no ONNX file of this model, so PyTorch is used: the network sphinx cannot be exported: no word "
        "for riddles"
    ]


def test_a_model_that_is_no_longer_what_its_file_says_has_no_export(model, beside):
    remember_export(model, beside)
    with torch.no_grad():
        next(model.parameters()).mul_(1.01)
    assert isinstance(engine_for(model, images=math.inf), TorchEngine)
    with pytest.raises(RecipeError, match="there is none that holds this model; save it, or choose torch"):
        engine_for(model, "onnx")


def test_a_model_in_memory_has_no_export():
    made = Classifier(architecture={"name": "mlp"}, classes=("cat", "dog"), input_size=(1, 8, 8)).eval()
    assert isinstance(engine_for(made, images=math.inf), TorchEngine)
    with pytest.raises(RecipeError, match="needs a model file"):
        engine_for(made, "onnx")


def test_a_model_on_a_gpu_stays_with_torch(model):
    model.mean = model.mean.to("meta")  # as far as a machine without a GPU goes
    with pytest.raises(RecipeError, match="set `device` to cpu, or choose torch"):
        engine_for(model, "onnx")


def test_where_onnx_runtime_is_not_installed_torch_is_used_and_onnx_says_what_to_install(model, beside, monkeypatch):
    remember_export(model, beside)
    monkeypatch.setattr(engine_module, "find_spec", lambda _name: None)
    assert isinstance(engine_for(model, images=math.inf), TorchEngine)
    with pytest.raises(RecipeError, match=r"pip install 'firstlight\[export\]', or choose torch"):
        engine_for(model, "onnx")


def test_a_copy_of_the_model_elsewhere_uses_the_same_export(model, exports, tmp_path, folder):
    engine_for(model, "onnx")
    copied = shutil.copy(folder / "model.safetensors", tmp_path / "copied.safetensors")
    assert isinstance(engine_for(load_model(copied)), OnnxEngine)


def test_another_model_does_not(model, exports, tmp_path):
    engine_for(model, "onnx")
    model.temperature.mul_(2)
    save_model(tmp_path / "other.safetensors", model)
    assert isinstance(engine_for(load_model(tmp_path / "other.safetensors")), TorchEngine)


def test_predict_and_evaluate_give_the_same_with_either_engine(folder, beside, digit_folder, digits, monkeypatch):
    images = digits[0][:50, ..., None]
    ran = []
    run = OnnxEngine._run
    monkeypatch.setattr(OnnxEngine, "_run", lambda *given: ran.append(1) or run(*given))
    by_torch = fl.predict(folder, images, engine="torch")
    score = fl.evaluate(folder, digit_folder, split="valid", engine="torch")
    assert ran == []
    by_onnx = fl.predict(folder, images, engine="onnx")
    assert len(ran) > 1  # with the check
    ran.clear()
    again = fl.evaluate(folder, digit_folder, split="valid", engine="onnx")
    assert ran
    assert [each.label for each in by_onnx] == [each.label for each in by_torch]
    np.testing.assert_allclose(again.outputs.logits, score.outputs.logits, atol=1e-4)
    assert again.evaluation.accuracy.value == score.evaluation.accuracy.value


def test_the_command_line_takes_an_engine_and_writes_refusals_with_its_flag(folder, beside, digit_folder, capsys):
    assert main(["predict", str(folder), str(folder / "held_out.png"), "--engine", "onnx", "--json"]) == 0
    told = capsys.readouterr()
    assert len(json.loads(told.out)) == 1
    assert "note: checking the ONNX file beside the model against it, once" in told.err
    beside.write_bytes(b"damaged")
    assert main(["evaluate", str(folder), str(digit_folder), "--split", "valid", "--engine", "onnx"]) == 2
    assert f"--engine onnx: {beside} cannot be used: it is damaged" in capsys.readouterr().err
    beside.write_bytes(b"other bytes")
    assert main(["predict", str(folder), str(folder / "held_out.png")]) == 0
    assert "it has not been checked here; --engine onnx checks it" in capsys.readouterr().err


def test_what_only_exports_need_is_not_loaded_to_predict():
    code = "import sys; from firstlight.delivery.engine import engine_for; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "firstlight.delivery.engine" in loaded
    assert not {"onnx", "onnxruntime", "onnxscript", "firstlight.delivery.export.export"} & set(loaded)


def test_a_speed_that_other_programs_have_spoiled_is_measured_again(model, exported, cache, monkeypatch):
    monkeypatch.setattr(known_exports, "speeds_of", lambda *_: SLOWER)
    monkeypatch.setattr(engine_module, "others_are_working", lambda: True)
    remember_export(model, exported.file)
    (file,) = cache.glob("exports/*.known")
    assert json.loads(read_line(file)) == {"refusal": None, "speeds": {}}
