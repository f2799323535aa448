"""Attacks on the whole server, over its socket: each is refused in plain words, and the next request is answered."""

import json
import re
import socket
import struct
import threading
import urllib.request
import zlib
from http.client import HTTPResponse

import pytest

MEBI = 1 << 20


@pytest.fixture(scope="session")
def digit(digit_folder) -> bytes:
    return sorted(digit_folder.glob("*/*.png"))[0].read_bytes()


@pytest.fixture
def raw(server):
    """Send bytes on a connection of their own, and return the status, the header and the body of the first answer."""

    def send(data: bytes, method: str | None = None):
        with socket.create_connection((server.host, int(server.port)), timeout=60) as connection:
            connection.sendall(data)
            response = HTTPResponse(connection, method=method)
            response.begin()
            return response.status, dict(response.getheaders()), response.read()

    return send


@pytest.fixture(autouse=True)
def _still_answers(server, digit, capfd):
    """After every attack the server classifies the next picture, and has logged nothing."""
    yield
    assert server.send_files(("next.png", digit)).status == 200
    assert capfd.readouterr().err == ""


def refused(answer, *statuses: int) -> str:
    """Return what a refusal says; fails if the answer is none, or tells of our insides."""
    status, headers, body = answer
    assert status in statuses
    found = json.loads(body)
    assert list(found) == ["error"]
    assert found["error"]
    assert "\n" not in found["error"]
    for inside in ("Traceback", 'File "', ".py", "site-packages", "firstlight/"):
        assert inside not in found["error"]
    names = {name.lower() for name in headers}
    assert {"content-security-policy", "x-content-type-options", "cache-control"} <= names
    assert not {name for name in names if name.startswith("access-control")}
    assert "server" not in names
    return found["error"]


# Sizes

SIZES = [64 * MEBI + 1, 65 * MEBI, 100 * MEBI, 300 * MEBI, 1 << 30, 1 << 31, 1 << 32, 1 << 40, (1 << 63) - 1, 10**19]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [b"image/png", b"multipart/form-data; boundary=XYZ"])
def test_a_body_of_any_size_above_the_limit_is_refused_before_it_comes(raw, size, kind):
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, size)
    assert "larger than 64 MiB" in refused(raw(head), 413)


def test_a_chunked_flood_is_refused_at_the_limit(raw):
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert "larger than 64 MiB" in refused(raw(head + (b"100000\r\n" + bytes(MEBI) + b"\r\n") * 65), 413)


def test_compressed_bodies_are_refused(server, digit):
    packed = zlib.compress(digit)
    for coding in ("gzip", "deflate", "br"):
        assert "compressed" in refused(server.ask("POST", "/predict", packed, content_encoding=coding), 415)


# Addresses and methods

NOWHERE = [
    "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%2e%2e%5c%2e%2e%5cpages.py",
    "//etc/passwd", "/page.js/../pages.py", "/page.js/../../pages.py", "/pages.py", "/page/page.js", "/__init__.py",
    "/page.js%00.png", "/page.js%00", "/%00", "/page.js/", "/PAGE.JS", "/.git/config", "/static/", "/page.js%2f",
    "/index.html/..", "/%c0%ae%c0%ae/etc/passwd", "/%ff%fe", "/..;/..;/etc/passwd", "/page.css%0d%0aX-Injected:%201",
    "/proc/self/environ", "/model.safetensors", "/debug", "/%25%32%65%25%32%65/", "/" + "a" * 8000, "/\\..\\..\\x",
]  # fmt: skip


@pytest.mark.parametrize("path", NOWHERE)
def test_there_are_no_files_behind_the_addresses(raw, path):
    answer = raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    refused(answer, 404)
    assert "X-Injected" not in answer[1]


@pytest.mark.parametrize(
    "method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "SEARCH", "LINK", "PURGE"]
)
@pytest.mark.parametrize("path", ["/predict", "/", "/model", "/health/live"])
def test_other_methods_are_refused(server, method, path):
    refused(server.ask(method, path), 405)


def test_methods_that_do_not_exist_are_refused(raw):
    for method in ("FROB", "get", "GETX", "G ET", "\x00"):
        refused(raw(f"{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()), 400)


def test_a_range_of_a_file_is_the_whole_file(server):
    whole = server.ask("GET", "/page.js")
    ranges = server.ask("GET", "/page.js", range="bytes=" + ",".join(f"{start}-" for start in range(2000)))
    assert (ranges.status, ranges.body) == (200, whole.body)


def test_a_head_has_no_body(raw):
    status, headers, body = raw(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "HEAD")
    assert (status, body) == (200, b"")
    assert int({name.lower(): value for name, value in headers.items()}["content-length"]) > 1000


# Forms


def form_of(parts: bytes, boundary: str = "XYZ") -> dict:
    return {"body": parts, "content_type": f"multipart/form-data; boundary={boundary}"}


PART = b'--XYZ\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\nx\r\n'
END = b"--XYZ--\r\n"
FORMS = {
    "ten thousand files": PART * 10_000 + END,
    "ten thousand fields": b'--XYZ\r\nContent-Disposition: form-data; name="f"\r\n\r\nx\r\n' * 10_000 + END,
    "a header of a megabyte": b"--XYZ\r\nX: " + b"a" * MEBI + b"\r\n\r\nx\r\n" + END,
    "a name of a megabyte": PART.replace(b"a.png", b"a" * MEBI) + END,
    "ten thousand header lines": b"--XYZ\r\n" + b"X: y\r\n" * 10_000 + b"\r\nx\r\n" + END,
    "no header": b"--XYZ\r\n\r\nx\r\n" + END,
    "no disposition": b"--XYZ\r\nContent-Type: image/png\r\n\r\nx\r\n" + END,
    "an empty disposition": b"--XYZ\r\nContent-Disposition: \r\n\r\nx\r\n" + END,
    "no end": PART * 3,
    "no start": b"x" * 100_000,
    "nothing": b"",
    "only an end": END,
    "another boundary": PART.replace(b"XYZ", b"ABC") + b"--ABC--\r\n",
    "a form in a form": b'--XYZ\r\nContent-Disposition: form-data; name="f"\r\nContent-Type: multipart/mixed; '
    b"boundary=INNER\r\n\r\n--INNER\r\n" * 50 + END,
    "blank lines without end": b"\r\n" * MEBI,
    "almost a boundary, again and again": PART[:-3] + b"\r\n--XY" * 200_000 + b"\r\n",
    "null bytes": b"\0" * 100_000,
    "lines that end in LF": PART.replace(b"\r\n", b"\n") + b"--XYZ--\n",
    "a URL as a field": b'--XYZ\r\nContent-Disposition: form-data; name="url"\r\n\r\nhttp://127.0.0.1/x.png\r\n' + END,
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_forms_that_are_damaged_or_bombs_are_refused(server, name):
    refused(server.ask("POST", "/predict", **form_of(FORMS[name])), 400, 413)


@pytest.mark.parametrize("boundary", ["", '""', "a" * 10_000, "\xff", "X Y", ";;", '"', "XYZ\tx"])
def test_boundaries_that_are_none_are_refused(server, boundary):
    refused(server.ask("POST", "/predict", **form_of(PART + END, boundary)), 400)


NAMES = [
    "<script>alert(1)</script>.png", "<img src=x onerror=alert(1)>.png", "'; DROP TABLE images; --.png",
    "../../../etc/passwd", "..\\..\\windows\\win.ini", "/etc/passwd", "file:///etc/passwd", "~/.ssh/id_rsa",
    "$(reboot).png", "`reboot`.png", "| reboot", "&& reboot", "; reboot", "-rf", "--help", "%s%s%s%n.png",
    "{0.__class__}.png", "{{7*7}}.png", "${jndi:ldap://127.0.0.1/x}", "con.png", "nul", ".", "..", "...", " ",
    "  spaces  .png", "a" * 300, "\x1b[31mred.png", "\x1b]0;title\x07.png", "a\tb.png", "a\x08b.png", "a\x7fb.png",
    "a\x85b.png", "a\u2028b.png", "a\u202egnp.exe", "\u200b.png", "\ufeff.png", "e\u0301.png", "grün.png", "写真.png",
    "صورة.png", "🖼️.png", "a;b.png", "a=b.png", "a,b.png", "=1+1.png", "@SUM(A1).png", "a&b.png", "a#b?c.png",
    "http://127.0.0.1/x.png", "null", "undefined", "__proto__", "constructor",
]  # fmt: skip


def test_hostile_names_come_back_as_they_are_in_json_and_nowhere_else(server, digit):
    assert len(NAMES) >= 50
    answer = server.send_files(*((name, digit) for name in NAMES))
    assert answer.status == 200
    assert [row["image"] for row in json.loads(answer.body)] == NAMES
    assert answer.body.isascii() or b"\x1b" not in answer.body
    assert "x1b" not in str(answer.headers)


def test_names_that_are_no_text_or_hold_line_ends_add_no_line_anywhere(server, digit):
    for name in (
        b"\xff\xfe.png",
        b"a\0b.png",
        b"a\nb.png",
        b"a\rb.png",
        b"%0d%0aX-Injected: 1.png",
        b'a"b.png',
        b"\xed\xa0\x80",
    ):
        body = PART.replace(b"a.png", name).replace(b"\r\n\r\nx", b"\r\n\r\n" + digit)
        answer = server.ask("POST", "/predict", **form_of(body + END))
        assert answer.status in {200, 400}
        assert answer.body.count(b"\n") == (answer.body.count(b"\n ") + answer.body.count(b"\n]") + 1)
        assert "x-injected" not in answer.headers
        json.loads(answer.body)


# Images


def png_of(width: int, height: int) -> bytes:
    """Return a PNG that says that it has this size; up to five megabytes of its black pixels are there."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    squeezer = zlib.compressobj(9)
    data = squeezer.compress(bytes(min(height * (1 + width // 8), 5_000_000))) + squeezer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_images_that_unpack_to_too_much_are_refused_by_their_reason(server):
    for bomb in (png_of(20_000, 20_000), png_of(2**31 - 1, 2**31 - 1), png_of(200_000, 10_000)):
        answer = server.send_files(("bomb.png", bomb))
        [row] = json.loads(answer.body)
        assert answer.status == 422
        assert row["error"]
        assert "Traceback" not in row["error"]


# Addresses of other servers: none is ever asked


@pytest.fixture
def canary():
    """The address of a server that counts who asks it, and a function that returns the count."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(60)
    came = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            first = connection.recv(100)
            if first != b"stop":
                came.append(first)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            connection.close()
            if first == b"stop":
                return

    thread = threading.Thread(target=accept)
    thread.start()
    port = listening.getsockname()[1]

    def count() -> int:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"stop")  # whatever came before is counted by then
        thread.join()
        listening.close()
        return len(came)

    return f"127.0.0.1:{port}", count


def url_shaped(at: str, digit: bytes):
    """Yield 30 and more requests in which a server might see an address to fetch."""
    url = f"http://{at}/cat.png"
    for text in (
        url, f"https://{at}/cat.png", f"//{at}/cat.png", f"ftp://{at}/cat.png", f"gopher://{at}/_GET", f"hf://{at}/x",
        f"s3://{at}/x", f"file://{at}/cat.png", f"jar:{url}!/x", f"url({url})", f"msl:{url}", f"https:{url}",
        f"\\\\{at}\\x", f"ldap://{at}/x", f"dict://{at}/x", f"tftp://{at}/x", f"http://user:pass@{at}/x",
    ):  # fmt: skip
        yield {"body": text.encode(), "content_type": "image/png"}
        yield {"body": text.encode(), "content_type": "text/plain"}
        yield form_of(PART.replace(b"a.png", text.replace("\\", "\\\\").encode()) + END)
        yield form_of(PART.replace(b"\r\n\r\nx", b"\r\n\r\n" + text.encode()) + END)
    for body in (
        {"url": url}, {"image": url}, {"image_url": {"url": url}}, [url], url, {"inputs": [{"data": [url]}]},
    ):  # fmt: skip
        yield {"body": json.dumps(body).encode(), "content_type": "application/json"}
    entity = f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "{url}">]>'
    svg = f'{entity}<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/>&x;</svg>'
    yield form_of(PART.replace(b"a.png", b"a.svg").replace(b"\r\n\r\nx", b"\r\n\r\n" + svg.encode()) + END)
    yield form_of(PART.replace(b"\r\n\r\n", f"\r\nContent-Location: {url}\r\n\r\n".encode()) + END)
    yield form_of(
        PART.replace(b"\r\n\r\n", f'\r\nContent-Type: message/external-body; URL="{url}"\r\n\r\n'.encode()) + END
    )
    yield {"body": f"url={url}".encode(), "content_type": "application/x-www-form-urlencoded"}
    yield {"path": f"/predict?url={url}&image={url}&callback={url}", "body": digit}
    yield {
        "path": "/predict",
        "body": digit,
        "x_forwarded_host": at,
        "forwarded": f"host={at}",
        "referer": url,
        "x_url": url,
    }
    yield {"path": f"/{url}", "body": digit}
    eps = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({url}) run\n".encode()
    yield form_of(PART.replace(b"a.png", b"a.eps").replace(b"\r\n\r\nx", b"\r\n\r\n" + eps) + END)


def test_no_address_is_ever_fetched(server, digit, canary, monkeypatch):
    at, count = canary
    asked = []
    connect, lookup = socket.socket.connect, socket.getaddrinfo
    our_threads = {threading.current_thread()}

    def watched(name, function):
        def call(*args, **kwargs):
            if threading.current_thread() not in our_threads:
                asked.append((name, args))
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(socket.socket, "connect", watched("connect", connect))
    monkeypatch.setattr(socket, "getaddrinfo", watched("getaddrinfo", lookup))
    requests = list(url_shaped(at, digit))
    assert len(requests) >= 30
    for request in requests:
        answer = server.ask("POST", request.pop("path", "/predict"), **request)
        assert answer.status in {200, 400, 404, 415, 422}
        assert b"Traceback" not in answer.body
    assert not [one for one in asked if one[1][0] != "localhost"]
    assert count() == 0


def test_a_server_that_fetched_one_would_be_seen(canary):
    at, count = canary
    urllib.request.urlopen(f"http://{at}/cat.png", timeout=20).close()
    assert count() == 1


# Other pages


@pytest.mark.parametrize("path", ["/", "/predict", "/model", "/health/live", "/page.js", "/nowhere"])
def test_a_rebound_name_reaches_nothing(server, path):
    assert "allow-host" in refused(server.ask("GET", path, host="rebound.example"), 403)


def test_a_form_on_another_page_reaches_nothing(server, digit):
    answer = server.ask("POST", "/predict", digit, origin="http://evil.example", content_type="text/plain")
    assert "other sites" in refused(answer, 403)
    own = f"http://{server.host}:{server.port}"
    assert server.ask("POST", "/predict", digit, origin=own, content_type="image/png").status == 200


def test_what_the_page_loads_is_allowed_by_the_policy_of_the_page(server):
    page = server.ask("GET", "/")
    text = page.body.decode()
    assert "'unsafe" not in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"<style|\sstyle=|\son\w+=", text)
    assert not re.search(r"(src|href)=\"(\w+:|//)", text)
