"""Answer pictures with an export: python onnx_consumer.py model.onnx picture.jpg ..."""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1])
about = json.loads(session.get_modelmeta().custom_metadata_map["firstlight"])
channels, height, width = about["input_size"]
method, _, fraction = about["resize"].partition(":")


def prepare(path):
    """Return a picture as uint8 [height, width, channels], as preprocess.md says."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    if method == "crop":
        step = float(fraction or 1) * min(image.height / height, image.width / width)
        rows, columns = max(1, round(height * step)), max(1, round(width * step))
        top, left = (image.height - rows) // 2, (image.width - columns) // 2
        image = image.crop((left, top, left + columns, top + rows))
    assert method != "pad", "preprocess.md has the arithmetic"
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels)


answers = {}
for path in sys.argv[2:]:
    (probabilities,) = session.run(["probabilities"], {"images": prepare(path)[None]})
    answers[path] = dict(zip(about["classes"], probabilities[0].tolist(), strict=True))
print(json.dumps(answers, indent=1))
