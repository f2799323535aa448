"""The web page: static files that a browser loads from the server itself, and nothing from anywhere else."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response

FOLDER = Path(__file__).with_name("page")
TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES = {
    "/" if file.name == "index.html" else f"/{file.name}": file
    for file in sorted(FOLDER.iterdir())
    if file.suffix in TYPES
}
PUBLIC = frozenset(FILES)  # paths that need no token: they hold nothing of the model


def page_router() -> APIRouter:
    """Return the routes of the page: `/`, and what it loads."""
    router = APIRouter()
    for path, file in FILES.items():
        answer = _answer(file.read_bytes(), TYPES[file.suffix])
        router.add_api_route(path, answer, methods=["GET", "HEAD"], include_in_schema=False)
    return router


def _answer(content: bytes, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return Response(content, media_type=media_type)

    return answer
