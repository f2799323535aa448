"""The server that tutorials show: FastAPI, and an eager network of torchvision behind it.

python benchmarks/serving/plain.py --weights mobilenet_v2.safetensors --port 8001
"""

import argparse
import io

import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image
from safetensors.torch import load_file
from torchvision import transforms
from torchvision.models import mobilenet_v2

PREPARE = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
)


def network(weights: str | None) -> torch.nn.Module:
    """Return the network, with random weights if there is no file."""
    made = mobilenet_v2(weights=None).eval()
    if weights:
        made.load_state_dict(load_file(weights))
    return made


def app_of(model: torch.nn.Module) -> FastAPI:
    """Return the app."""
    app = FastAPI()

    @app.get("/health/live")
    def live() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/predict")
    def predict(file: UploadFile) -> list[dict[str, float | int]]:
        image = Image.open(io.BytesIO(file.file.read())).convert("RGB")
        with torch.inference_mode():
            probabilities = model(PREPARE(image)[None]).softmax(dim=1)[0]
        best = int(probabilities.argmax())
        return [{"label": best, "probability": float(probabilities[best])}]

    return app


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights")
    parser.add_argument("--port", type=int, required=True)
    choices = parser.parse_args()
    uvicorn.run(app_of(network(choices.weights)), host="127.0.0.1", port=choices.port, log_level="warning")


if __name__ == "__main__":
    main()
