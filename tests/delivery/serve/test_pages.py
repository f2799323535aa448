"""The files of the page: what they are served as, and that they hold no script or style inline and load nothing."""

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from firstlight.delivery.serve.pages import FILES, PUBLIC, page_router


@pytest.fixture
def client():
    app = FastAPI()
    app.include_router(page_router())
    return TestClient(app)


def test_everything_that_the_page_names_is_served_as_what_it_is(client):
    html = client.get("/")
    assert html.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:href|src)="([\w.]+\.\w+)"', html.text)
    assert {"page.css", "page.js", "icon.svg"} <= set(named)
    for name in named:
        kind = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}[name.rsplit(".", 1)[1]]
        assert client.get(f"/{name}").headers["content-type"].startswith(kind)


def test_every_script_that_another_one_imports_is_public(client):
    for path in FILES:
        for name in re.findall(r'from "\./([\w.]+)"', client.get(path).text):
            assert f"/{name}" in PUBLIC and client.get(f"/{name}").status_code == 200


def test_no_file_has_a_script_or_a_style_inline_or_writes_html():
    for file in FILES.values():
        text = file.read_text("utf-8")
        assert not re.search(r"<style|style=|<script(?![^>]* src=)| on\w+=|javascript:", text), file
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|cssText", text), file


def test_no_file_names_another_host():
    for file in FILES.values():
        found = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'<]*", file.read_text("utf-8"))
        assert [one for one in found if not one.startswith(("http://127.0.0.1", "http://www.w3.org/2000/svg"))] == []


def test_only_files_of_the_page_are_served(client):
    for path in ("/index.html", "/pages.py", "/../pages.py", "/page/page.js", "/.DS_Store"):
        assert client.get(path).status_code == 404
