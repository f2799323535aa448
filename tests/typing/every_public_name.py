"""What a user may write, with every public name in it; `mypy --strict` reads it, and nobody runs it."""

from pathlib import Path

import numpy as np
import torch

import firstlight as fl

recipe: fl.Recipe = fl.Recipe(
    data=fl.DataRecipe(img_size=64),
    model=fl.ModelRecipe(name="cnn"),
    augmentation=fl.Augment(flip=True),
)
samples: fl.Samples = fl.load_data("photos")
pair: fl.Samples = fl.load_data((np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1]))
report: fl.CheckReport = fl.check(samples)
packed: fl.Packed = fl.pack(samples, shards="shards")
unusable: list[str] = report.to_pandas()["image"].tolist()

run: fl.Run = fl.train(samples, recipe, epochs=5, out="runs/mine")
again: fl.Run = fl.load_run(Path("runs/mine"), data=samples)
if run.test is not None:
    test: fl.Evaluation = run.test
    accuracy: float = test.accuracy.value
    fl.confusion_matrix(test.confusion, test.classes)
names: list[str] = [mistake.image for mistake in run.mistakes]
fl.training_curves(run.folder / "metrics.csv")

model: fl.Classifier = fl.load(run.folder)
fl.save("model.safetensors", model)
size: tuple[int, int, int] = fl.read_model_card("model.safetensors").input_size
answers: list[str] = model.predict(["a.png", b"...", np.zeros((8, 8))]).tolist()
best: int = int(model.predict_proba("a.png").argmax())
logits: torch.Tensor = model(torch.zeros(1, *size, dtype=torch.uint8))
modules: list[torch.nn.Module] = list(model.children())

several: fl.Predictions = fl.predict(run, ["a.png", "b.png"])
one: fl.Prediction = fl.predict(model, b"...")
label: str | None = fl.predict("runs/mine", "a.png").label
table = several.to_pandas()
predictor = fl.Predictor(model, top=3)
fl.view_classify("a.png", run)
fl.view_classify(np.zeros((8, 8)), [0.5, 0.5], ["cat", "dog"], label="cat")

heat: fl.Heatmap = fl.explain(model, b"...", class_="cat")
heats: fl.Heatmaps = fl.explain(run, ["a.png"], method="occlusion", out="maps")
overlaid: np.ndarray = heat.overlay()

exported: fl.Exported = fl.export(run, "onnx", out="model.onnx")
verified: fl.Verified = fl.verify_export("model.onnx")
agrees: bool = fl.verify_export(lambda path: [0.5, 0.5], "model.onnx.golden").ok

score = fl.evaluate(model, samples, split="all")
worst: str = score.to_pandas()["class"][0]
repeated: fl.RecipeComparison = fl.compare_recipes(fl.Recipe(), "recipe.toml", samples, seeds=3)
searched: fl.Search = fl.tune(samples, recipe, trials=5, time_limit=60, search=["lr"], dropout=0.1)
compared: fl.Comparison = fl.compare(run, "runs/a", samples, split="valid")
found: fl.Evaluation = fl.evaluate_logits(logits, torch.tensor([0]), model.classes)
hits: float = fl.metrics.accuracy(logits, torch.tensor([0])).value

data: fl.Dataset = fl.open_dataset(samples, fl.DataRecipe())
loader: fl.Loader = data.loader("train", batch_size=32, seed=0)
for batch in loader.epoch(1):
    fl.imshow(batch.images[0])
    fl.image_grid(batch.images, [samples.classes[number] for number in batch.labels])
rows = fl.split(samples.labels)
fl.show_batch(samples, recipe, rotate=15)
page: Path = fl.report(run, out="report.html")
fl.serve("runs/mine", port=0, token="0123456789abcdef", engine="torch", when_ready=print)
fl.mistakes_grid(batch.images[:1], [0], [1], [0.5], samples.classes)

try:
    fl.train("photos", model="mlp")
except fl.UserError as error:
    words: str = error.reason
