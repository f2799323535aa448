"""A hub on this machine: what huggingface_hub asks of huggingface.co, with faults that tests plant."""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

TOKEN = "hf_canary0123456789"
LARGE = 2000  # bytes: from there on files are kept outside git, as the hub keeps large ones


@dataclass
class Repository:
    """A repository: whether it is private, and its files after each commit."""

    private: bool = True
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def at(self, revision):
        oid = list(self.commits)[-1] if revision == "main" and self.commits else revision
        return oid, self.commits.get(oid)


class Hub:
    """The server's state, its address, and what it was asked.

    Attributes:
        faults: by a part of `METHOD /path`, what happens instead: a status, bytes, or an event that is waited for.
        elsewhere: the address of another host, from which large files come.
    """

    def __init__(self, port):
        self.url, self.elsewhere = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.faults: dict[str, object] = {}
        self.asked: list[tuple[str, str, str | None]] = []

    def add(self, name, files, *, private=False):
        repository = self.repositories.setdefault(name, Repository(private))
        for content in files.values():
            self.large[hashlib.sha256(content).hexdigest()] = content
        oid = hashlib.sha1(repr((name, len(repository.commits))).encode()).hexdigest()
        repository.commits[oid] = {**(repository.at("main")[1] or {}), **files}
        return oid

    def files(self, name):
        return self.repositories[name].at("main")[1]


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments):
        pass

    def answer(self, status, value=b"", **headers):
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def handle_one(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        path = unquote(self.path.partition("?")[0])
        self.hub.asked.append((f"{self.command} {path}", self.headers["Host"], self.headers.get("Authorization")))
        for part, fault in self.hub.faults.items():
            if re.search(part, f"{self.command} {path}"):
                if isinstance(fault, threading.Event):
                    fault.wait(20)
                elif isinstance(fault, int):
                    return self.answer(fault, {"error": "planted"})
                else:
                    return self.answer(200, fault)
        method = getattr(self, f"on_{self.command.lower()}")
        return method(path, body)

    do_GET = do_HEAD = do_POST = do_PUT = handle_one  # noqa: N815 - their names in http.server

    @property
    def is_known(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def on_get(self, path, _body):
        if path == "/api/whoami-v2":
            return self.answer(200, {"name": "ada"}) if self.is_known else self.answer(401, {"error": "unknown"})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)", path):
            repository = self.hub.repositories.get(found[1])
            if repository is None or (repository.private and not self.is_known):
                return self.answer(401 if not self.is_known else 404, {}, X_Error_Code="RepoNotFound")
            return self.answer(200, {"id": found[1], "private": repository.private, "tags": [], "siblings": []})
        if found := re.fullmatch(r"/large/(\w{64})", path):
            return self.answer(200, self.hub.large[found[1]])
        return self.on_head(path, b"")

    def on_head(self, path, _body):
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        repository = self.hub.repositories.get(found[1]) if found else None
        if repository is None or (repository.private and not self.is_known):
            return self.answer(404 if self.is_known else 401, X_Error_Code="RepoNotFound")
        oid, files = repository.at(found[2])
        if files is None:
            return self.answer(404, X_Error_Code="RevisionNotFound")
        if found[3] not in files:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=oid)
        content = files[found[3]]
        sha256 = hashlib.sha256(content).hexdigest()
        if len(content) < LARGE:
            return self.answer(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=oid)
        return self.answer(
            302,
            Location=f"{self.hub.elsewhere}/large/{sha256}",
            X_Repo_Commit=oid,
            X_Linked_ETag=f'"{sha256}"',
            X_Linked_Size=str(len(content)),
        )

    def on_put(self, path, body):
        self.hub.large[path.removeprefix("/large/")] = body
        return self.answer(200)

    def on_post(self, path, body):
        if not self.is_known:
            return self.answer(401, {"error": "Invalid credentials"})
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            self.hub.repositories[name] = Repository(wanted.get("visibility") == "private" or wanted.get("private"))
            return self.answer(200, {"url": f"{self.hub.url}/{name}", "id": name})
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            for one in objects:
                one["actions"] = {"upload": {"href": f"{self.hub.elsewhere}/large/{one['oid']}"}}
            return self.answer(200, {"objects": objects})
        name, kind = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", path).groups()
        if kind == "preupload":
            files = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["size"] >= LARGE else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        rows = [json.loads(row) for row in body.splitlines()]
        files = {
            row["value"]["path"]: base64.b64decode(row["value"]["content"]) for row in rows if row["key"] == "file"
        }
        files |= {row["value"]["path"]: self.hub.large[row["value"]["oid"]] for row in rows if row["key"] == "lfsFile"}
        oid = self.hub.add(name, files)
        return self.answer(200, {"commitUrl": f"{self.hub.url}/{name}/commit/{oid}", "commitOid": oid})


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on this machine, which huggingface_hub takes for the real one, with an empty cache and a token."""
    from huggingface_hub.utils import close_session

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # of clients that gave up
    hub = server.RequestHandlerClass.hub = Hub(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.ENDPOINT", hub.url)
    monkeypatch.setattr(
        f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(f"{constants}.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for variable in ("HF_HUB_OFFLINE", "FIRSTLIGHT_OFFLINE", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    close_session()
    yield hub
    close_session()
    server.shutdown()
    server.server_close()
