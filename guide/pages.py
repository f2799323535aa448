"""What the site makes itself: notebooks, the command line's reference, a profile."""

import ast
import inspect
import re
import shutil
import textwrap
from pathlib import Path

import nbformat

from firstlight import cli
from firstlight.delivery.notebooks import read_chapter, write_notebooks
from firstlight.training.recipe import DEFAULTS, Recipe

HERE = Path(__file__).parent
MADE = HERE / "made"
COMMANDS = (cli.Train, cli.Evaluate, cli.Predict, cli.Check, cli.Guide)
WORDS = {
    "int": "a whole number", "float": "a number", "str": "text", "Path": "a path",
    "tuple[int, ...]": "whole numbers", "tuple[str, ...]": "words",
}  # fmt: skip


def make() -> None:
    """Write notebooks, the command line's reference and IPython's profile, anew."""
    shutil.rmtree(MADE, ignore_errors=True)
    profile = MADE / "ipython" / "profile_default"  # IPython writes more into it
    profile.mkdir(parents=True)
    shutil.copy(HERE / "look" / "ipython_kernel_config.py", profile)
    write_notebooks(MADE / "notebooks")
    (MADE / "command_line.md").write_text(command_line(), "utf-8")


def chapter(text: str) -> nbformat.NotebookNode:
    """Turn a chapter into a notebook, with a link to download it below its heading."""
    notebook = read_chapter(text)
    heading, _, rest = notebook.cells[0].source.partition("\n")
    name = file_name(heading)
    file = f"/made/notebooks/{name}.ipynb"
    link = f"{{download}}`Download this chapter as a notebook <{file}>`"
    notebook.cells[0].source = f"{heading}\n\n{link}\n{rest}"
    return notebook


def file_name(heading: str) -> str:
    """Give the file of a chapter by its heading, `# 3. Neural networks`."""
    number, _, words = heading.removeprefix("# ").partition(". ")
    return f"{int(number):02}_" + re.sub(r"\W+", "_", words.lower())


def command_line() -> str:
    """Describe every command, from the commands themselves."""
    return "\n".join(command(kind) for kind in COMMANDS)


def command(kind: type) -> str:
    """Describe a command: what it does, what it takes, and its options."""
    own = [field for field in fields(kind) if field[0] != "choices"]
    places = [name for name, kind_of, *_ in own if kind_of.startswith("Positional")]
    options = [field for field in own if field[0] not in places]
    if kind is cli.Train:
        options = fields(Recipe) + options
    usage = " ".join(
        [
            "firstlight",
            kind.__name__.lower(),
            *(name.upper() for name in places),
            "[OPTIONS]",
        ]
    )
    parts = [
        f"## `firstlight {kind.__name__.lower()}`",
        inspect.getdoc(kind) or "",
        f"```text\n{usage}\n```",
    ]
    parts += [entry(name.upper(), *rest) for name, *rest in own if name in places]
    parts += [entry("--" + name.replace("_", "-"), *rest) for name, *rest in options]
    if kind is cli.Train:
        parts += [
            "### What is left open",
            "A choice without a default takes what suits the model:",
            defaults(),
        ]
    return "\n\n".join(parts) + "\n"


def fields(kind: type) -> list[tuple[str, str, str, str]]:
    """Give name, type, default and description of every field, from the source."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    found = []
    for field, text in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            told = ast.literal_eval(text.value) if isinstance(text, ast.Expr) else ""
            default = ast.unparse(field.value) if field.value else ""
            found.append(
                (
                    field.target.id,
                    ast.unparse(field.annotation),
                    default,
                    " ".join(told.split()),
                )
            )
    return found


def entry(name: str, kind: str, default: str, told: str) -> str:
    """Describe one option as a term and its definition."""
    kind = re.sub(r"^Positional\[(.*)\]$", r"\1", kind)
    can_be_open = kind.endswith(" | None")
    kind = kind.removesuffix(" | None")
    if kind == "bool":
        takes = ""
    elif kind.startswith("Literal["):
        takes = " " + " or ".join(
            f"`{value}`" for value in ast.literal_eval(f"[{kind[8:-1]}]")
        )
    else:
        takes = f" {WORDS.get(kind, kind)}"
    shown = default.strip("'").removeprefix("Path('").removesuffix("')")
    if kind in ("int", "float"):
        shown = shown.replace("_", "")
    if kind.startswith("tuple"):
        shown = shown.strip("()").replace(",", "")
    has_default = not can_be_open and default not in ("", "False", "field")
    usual = f" Default: `{shown}`." if has_default else ""
    told = told.replace("<", "&lt;").replace("*", "\\*")
    return f"`{name}`{takes}\n: {told}{usual}"


def defaults() -> str:
    """Tabulate what each model takes where a choice is left open."""
    names = list(
        dict.fromkeys(name for choices in DEFAULTS.values() for name in choices)
    )
    heads = {"network": "timm:NAME, torchvision:NAME", "backbone": "--backbone"}
    head = (
        "| | " + " | ".join(f"`{heads.get(model, model)}`" for model in DEFAULTS) + " |"
    )
    rows = [
        f"| `--{name.replace('_', '-')}` | "
        + " | ".join(str(c.get(name, "")) for c in DEFAULTS.values())
        + " |"
        for name in names
    ]
    return "\n".join([head, "|" + "---|" * (1 + len(DEFAULTS)), *rows])
