"""Pages that the site generates: notebooks, and the command line's reference."""

import ast
import inspect
import re
import shutil
import textwrap
from pathlib import Path

import nbformat
from numpy.typing import ArrayLike
from sphinx.util.typing import stringify_annotation

from firstlight.cli import commands
from firstlight.delivery.notebooks import read_chapter, write_notebooks
from firstlight.training.defaults import DEFAULTS
from firstlight.training.recipe import GROUPS, HOMES, Recipe

HERE = Path(__file__).parent
MADE = HERE / "made"
COMMANDS = (
    commands.Train,
    commands.Evaluate,
    commands.Predict,
    commands.Check,
    commands.Guide,
)
FLAT = {home: flat for flat, home in HOMES.items()}  # (group, field) to the flag's name
OWN = ("mlp", "cnn")  # models by their names; the other columns are kinds of models
COLON = "\ue000"  # stands for a colon; a character that no text uses
SHORT = {
    re.escape(stringify_annotation(ArrayLike, "smart")): "ArrayLike",
    r"~numpy\.ndarray\[tuple\[~typing\.Any, \.\.\.\], "
    r"~numpy\.dtype\[~numpy\.(\w+)\]\]": r"NDArray[\1]",
    r"<built-in function (\w+)>": r"\1",
    "<factory>": "...",
}
WORDS = {
    "int": "a whole number", "float": "a number", "str": "text", "Path": "a path",
    "tuple[int, ...]": "whole numbers", "tuple[str, ...]": "words",
}  # fmt: skip


def make() -> None:
    """Write notebooks, the command line's reference, and IPython's profile."""
    shutil.rmtree(MADE, ignore_errors=True)
    profile = MADE / "ipython" / "profile_default"  # IPython writes more into it
    profile.mkdir(parents=True)
    shutil.copy(HERE / "theme" / "ipython_kernel_config.py", profile)
    write_notebooks(MADE / "notebooks")
    (MADE / "command_line.md").write_text(command_line(), "utf-8")


def chapter(text: str) -> nbformat.NotebookNode:
    """Turn a chapter into a notebook with a download link below its heading."""
    notebook = read_chapter(text)
    heading, _, rest = notebook.cells[0].source.partition("\n")
    name = file_name(heading)
    file = f"/made/notebooks/{name}.ipynb"
    link = f"{{download}}`Download this chapter as a notebook <{file}>`"
    notebook.cells[0].source = f"{heading}\n\n{link}\n{rest}"
    return notebook


def file_name(heading: str) -> str:
    """Return a chapter's file name from its heading, such as `# 3. Neural networks`."""
    number, _, words = heading.removeprefix("# ").partition(". ")
    return f"{int(number):02}_" + re.sub(r"\W+", "_", words.lower())


def command_line() -> str:
    """Describe every command; the text comes from the commands' source."""
    return "\n".join(command(kind) for kind in COMMANDS)


def command(kind: type) -> str:
    """Describe a command: what it does, its arguments, and its options."""
    is_train = kind is commands.Train
    own = [field for field in fields(kind) if not (is_train and field[0] in GROUPS)]
    places = [name for name, kind_of, *_ in own if "Positional[" in kind_of]
    options = [field for field in own if field[0] not in places]
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
    if is_train:
        for group, choices in GROUPS.items():
            parts.append(f"### {group.title()} options")
            parts += [flag(FLAT[group, name], *rest) for name, *rest in fields(choices)]
        parts.append("### General options")
        general = [field for field in fields(Recipe) if ("", field[0]) in FLAT]
        named = {name for name, *_ in options}
        options = [field for field in general if field[0] not in named] + options
    parts += [flag(*option) for option in options]
    if is_train:
        parts += [
            "### Defaults that depend on the model",
            "An option without a default takes the value that suits the model:",
            defaults(),
        ]
    return "\n\n".join(parts) + "\n"


def fields(kind: type) -> list[tuple[str, str, str, str]]:
    """Return name, type, default, and description of every field, from the source."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    found = []
    for field, text in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            about = ast.literal_eval(text.value) if isinstance(text, ast.Expr) else ""
            default = ast.unparse(field.value) if field.value else ""
            found.append(
                (
                    field.target.id,
                    ast.unparse(field.annotation),
                    default,
                    " ".join(about.split()),
                )
            )
    return found


def flag(name: str, *rest: str) -> str:
    """Describe one option by the name of its field."""
    return entry("--" + name.replace("_", "-"), *rest)


def entry(name: str, kind: str, default: str, about: str) -> str:
    """Describe one argument or option as a term and its definition."""
    kind = re.sub(r"^(?:\w+\.)*Positional\[(.*)\]$", r"\1", kind)
    is_open = kind.endswith(" | None")
    kind = kind.removesuffix(" | None")
    shown = default.strip("'").removeprefix("Path('").removesuffix("')")
    if kind == "bool":
        can_be_off = is_open or default == "True"
        takes = f" or `--no-{name.removeprefix('--')}`" if can_be_off else ""
        shown = name
    elif kind.startswith("Literal["):
        takes = " " + " or ".join(
            f"`{value}`" for value in ast.literal_eval(f"[{kind[8:-1]}]")
        )
    else:
        takes = f" {WORDS.get(kind, kind)}"
    if kind in ("int", "float"):
        shown = shown.replace("_", "")
    if kind.startswith("tuple"):
        shown = shown.strip("()").replace(",", "")
    has_default = (
        not is_open and default not in ("", "False") and "field(" not in default
    )
    usual = f" Default: `{shown}`." if has_default else ""
    about = about.replace("<", "&lt;").replace("*", "\\*")
    return f"`{name}`{takes}\n: {about}{usual}"


def defaults() -> str:
    """Return a table of the values that each kind of model takes by default."""
    names = list(
        dict.fromkeys(name for choices in DEFAULTS.values() for name in choices)
    )
    kinds = " | ".join(f"`{kind}`" if kind in OWN else kind for kind in DEFAULTS)
    rows = [
        f"| `--{name.replace('_', '-')}` | "
        + " | ".join(
            "off" if c.get(name) is False else str(c.get(name, ""))
            for c in DEFAULTS.values()
        )
        + " |"
        for name in names
    ]
    return "\n".join([f"| | {kinds} |", "|" + "---|" * (1 + len(DEFAULTS)), *rows])


def short_signature(
    _app: object, _what: str, _name: str, _it: object, _options: object, *signature: str
) -> tuple[str | None, ...]:
    """Return the arguments and the result of a function with short names of types."""
    return tuple(part and shorten(part) for part in signature)


def shorten(part: str) -> str:
    """Replace the long names in part of a signature."""
    for long, short in SHORT.items():
        part = re.sub(long, short, part)
    return part


def hide_colons(
    _app: object, what: str, _name: str, _it: object, _options: object, lines: list[str]
) -> None:
    """Replace the colons in the description of a field or property."""
    if what in ("attribute", "property"):
        lines[:] = [line.replace(":", COLON) for line in lines]


def show_colons(
    _app: object,
    _what: str,
    _name: str,
    _it: object,
    _options: object,
    lines: list[str],
) -> None:
    """Put the colons back."""
    lines[:] = [line.replace(COLON, ":") for line in lines]
