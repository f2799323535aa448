"""Check a pipeline that answers pictures with an exported model."""

from pathlib import Path
from typing import Any

from firstlight.delivery.export.golden import golden_folder, read_golden
from firstlight.delivery.export.pipelines import pipeline_in
from firstlight.delivery.export.verify import Verified, verify
from firstlight.errors import UserError
from firstlight.files import expand_user


def verify_export(file: Any, golden: Path | str | None = None) -> Verified:
    """Check whether a pipeline answers the golden pictures of an export as it should, and say why not.

    Args:
        file: an exported file, which is run with firstlight's own preprocessing; or your pipeline: a function that
            takes the path of a picture and returns the probabilities of all classes, or these probabilities, as a table
            by the names of the pictures, as rows in the order of `expected.json`, or as a `.json` file of either.
        golden: the folder of golden pictures that `export` wrote; by default the one beside the exported file.

    Raises:
        UserError: if there are no golden pictures, or `file` is none of these.
    """
    is_path = isinstance(file, Path | str)
    path = expand_user(file) if is_path else None
    if golden is None and path is None:
        raise UserError("name the folder of golden pictures that export wrote, such as model.onnx.golden")
    found = read_golden(expand_user(golden) if golden is not None else golden_folder(path or Path()))
    return verify(file if path is None else pipeline_in(path, found.classes), found)
