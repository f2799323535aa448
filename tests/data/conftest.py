"""What tests of data share: real digits as picture files."""

import io

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def files(digits) -> list[bytes]:
    """Real digits as PNG files, all different."""

    def encode(image: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        return file.getvalue()

    return [encode(image) for image in digits[0][:40]]
