"""Write the chapters of the guide as notebooks."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from firstlight.cli.exit_codes import DONE
from firstlight.cli.json_answer import print_json
from firstlight.cli.options import Positional
from firstlight.cli.terminal import say, tell


@dataclass(frozen=True)
class Guide:
    """Write the nine chapters of the guide as notebooks, to read, run, and change."""

    EXAMPLE: ClassVar[str] = "firstlight guide"

    folder: Positional[Path] = Path("firstlight-guide")
    """Folder to write them to; existing files are never overwritten."""
    json: bool = False
    """Print one JSON object instead of text."""

    def run(self) -> int:
        """Write them, and list them."""
        from firstlight.delivery.notebooks import write_notebooks

        notebooks = write_notebooks(self.folder)
        if self.json:
            print_json({"notebooks": [str(path) for path in notebooks]})
            return DONE
        for path in notebooks:
            say(str(path))
        opener = "jupyter lab" if find_spec("jupyterlab") else "pip install jupyterlab; jupyter lab"
        tell(f"open them in your editor, or with: {opener} {self.folder}")
        return DONE
