"""The images in a request: a form with files, or one image as the whole body; read into memory as they come."""

from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

__all__ = ["ClientDisconnect", "UnreadableError", "Upload", "read_uploads"]

MAX_IMAGES = 256  # in one request
HOW = "send pictures as files of a form (multipart/form-data), or one picture as the body"


@dataclass(frozen=True, slots=True)
class Upload:
    """The bytes of one image file, and the name that it came with."""

    content: bytes
    name: str | None = None


class UnreadableError(Exception):
    """A request in which no images can be found; `status` is that of the answer, and `reason` is for its sender."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


async def read_uploads(request: Request, most: int = MAX_IMAGES) -> list[Upload]:
    """Return the images of a request in their order.

    Raises:
        UnreadableError: if there is none, there are more than `most`, or the form is damaged.
        ClientDisconnect: if the client goes before it has sent everything.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind == b"application/json":
        raise UnreadableError(415, f"this is JSON; {HOW}")
    if kind != b"multipart/form-data":
        content = await request.body()
        if not content:
            raise UnreadableError(400, f"the request has no body; {HOW}")
        return [Upload(content)]
    form = _Form(options.get(b"boundary", b""), most)
    async for chunk in request.stream():
        form.read(chunk)
    return form.uploads()


class _Form:
    """The files of a form, parsed as its bytes come."""

    def __init__(self, boundary: bytes, most: int) -> None:
        self._most = most
        self._found: list[Upload] = []
        self._content: list[bytes] = []
        self._headers: dict[bytes, bytes] = {}
        self._field = self._value = b""
        self._is_whole = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_part_data": lambda data, start, end: self._content.append(data[start:end]),
                    "on_part_end": self._end,
                    "on_header_field": self._read_field,
                    "on_header_value": self._read_value,
                    "on_header_end": self._end_header,
                    "on_end": self._finish,
                },
            )
        except FormParserError:
            raise UnreadableError(400, f"the form cannot be read; {HOW}") from None

    def read(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise UnreadableError(400, f"the form cannot be read; {HOW}") from None

    def uploads(self) -> list[Upload]:
        if not self._is_whole:
            raise UnreadableError(400, f"the form ends before its last boundary; {HOW}")
        if not self._found:
            raise UnreadableError(400, f"the form has no files; {HOW}")
        return self._found

    def _begin(self) -> None:
        self._content, self._headers = [], {}

    def _read_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _read_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        if b"filename" not in options:
            name = options.get(b"name", b"").decode("utf-8", "replace")
            raise UnreadableError(400, f"the field {name!r} of the form is not a file; {HOW}")
        if len(self._found) == self._most:
            raise UnreadableError(413, f"one request may have {self._most:,} pictures; send several requests")
        name = options[b"filename"].decode("utf-8", "surrogateescape")  # as `os.fsdecode`
        self._found.append(Upload(b"".join(self._content), name))

    def _finish(self) -> None:
        self._is_whole = True
