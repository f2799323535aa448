"""The same network behind LitServe, which batches requests.

python benchmarks/serving/litserve_.py --weights mobilenet_v2.safetensors --port 8002
"""

import argparse
import io

import litserve
import torch
from fastapi import Request
from PIL import Image
from plain import PREPARE, network


class Api(litserve.LitAPI):
    """Decodes uploads, and runs the network on batches of them."""

    def __init__(self, weights: str | None) -> None:
        super().__init__(max_batch_size=32, batch_timeout=0.01, api_path="/predict")
        self.weights = weights

    def setup(self, device: str) -> None:
        """Load the network."""
        self.model = network(self.weights).to(device)

    def decode_request(self, request: Request) -> torch.Tensor:
        """Return the image as the network gets it."""
        return PREPARE(Image.open(io.BytesIO(request["file"].file.read())).convert("RGB"))

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        """Return the images as one tensor."""
        return torch.stack(inputs)

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Return the probabilities of all classes."""
        with torch.inference_mode():
            return self.model(images).softmax(dim=1)

    def unbatch(self, output: torch.Tensor) -> list[torch.Tensor]:
        """Return the answer for each image."""
        return list(output)

    def encode_response(self, output: torch.Tensor) -> list[dict[str, float | int]]:
        """Return what is sent."""
        best = int(output.argmax())
        return [{"label": best, "probability": float(output[best])}]


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights")
    parser.add_argument("--port", type=int, required=True)
    choices = parser.parse_args()
    server = litserve.LitServer(Api(choices.weights), accelerator="cpu", healthcheck_path="/health/live")
    server.run(host="127.0.0.1", port=choices.port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
