"""`/docs`: what each address takes and answers, as a page without scripts that works without a network."""

from html import escape
from typing import Any

EXAMPLE = "curl -F files=@a.jpg -F files=@b.jpg http://localhost:8000/predict"


def docs_page(openapi: dict[str, Any]) -> str:
    """Return the page that lists an application's addresses.

    Args:
        openapi: its description, as `/openapi.json` has it.
    """
    rows = "".join(
        f"<section><h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation.get('summary', ''))}</p>"
        f"{_paragraphs(operation.get('description', ''))}<ul>{_answers(operation)}</ul></section>"
        for path, operations in openapi["paths"].items()
        for method, operation in operations.items()
    )
    title = escape(f"{openapi['info']['title']} {openapi['info']['version']}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/page.css"></head><body><main>'
        f"<h1>{title}</h1><p><code>{escape(EXAMPLE)}</code></p>"
        '<p>For programs: <a href="/openapi.json">openapi.json</a>. The page: <a href="/">/</a>.</p>'
        f"{rows}</main></body></html>\n"
    )


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part)


def _answers(operation: dict[str, Any]) -> str:
    return "".join(
        f"<li><code>{escape(code)}</code> {escape(answer['description'])}</li>"
        for code, answer in operation["responses"].items()
    )
