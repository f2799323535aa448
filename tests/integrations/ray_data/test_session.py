import socket

import pytest

from firstlight.errors import RecipeError
from firstlight.inference.inputs import items_in
from firstlight.integrations.ray_data.predict import predict_to_parquet
from firstlight.models.model_file import load_model


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens_is_told_at_once(digit_run, digit_folder, tmp_path, scheme):
    model = load_model(digit_run.folder / "model.safetensors")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RecipeError, match="no Ray cluster answers there") as error:
            predict_to_parquet(model, items_in([str(digit_folder)]), tmp_path / "out", address=address)
    assert error.value.field == "address"
