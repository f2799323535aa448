"""The last step of the site: figures get colors for dark pages, and pages lose what axe-core finds fault with."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

GUIDE = Path(__file__).parents[2] / "guide"


@pytest.fixture(scope="module")
def finish():
    spec = importlib.util.spec_from_file_location("finish", GUIDE / "finish.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SVG = '<svg width="1"><path style="fill: #ffffff"/><path style="stroke: #000000; fill: #123456"/></svg>'


def test_a_figure_has_its_colors_on_light_pages_and_others_on_dark_ones(finish):
    figure = finish.follow_theme(SVG)
    light, dark = figure.split("@media (prefers-color-scheme: dark)")
    assert "--paper: #ffffff" in light and "--c000000: #000000" in light
    assert "--paper: #ffffff" not in dark and "--c000000: #000000" not in dark
    assert 'style="fill: var(--paper)"' in figure and "stroke: var(--c000000)" in figure
    assert "fill: #123456" in figure  # a color without a partner stays


def test_a_figure_is_changed_once_and_one_with_pixels_never(finish):
    once = finish.follow_theme(SVG)
    assert finish.follow_theme(once) == once
    pixels = SVG.replace("</svg>", '<image href="data:"/></svg>')
    assert finish.follow_theme(pixels) == pixels


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('<p class="caption" role="heading"><span>', '<p class="caption" role="heading" aria-level="2"><span>'),
        ('<summary aria-label="Toggle hidden content">', "<summary>"),
        ('<th class="head"><p></p></th>', '<td class="head"></td>'),
        ('<div class="table-wrapper docutils">', '<div tabindex="0" class="table-wrapper docutils">'),
        ('<div id="search-results"></div>', '<h1>Search</h1>\n<div id="search-results"></div>'),
        ("<pre>short</pre>", "<pre>short</pre>"),
        (f"<pre>{'&lt;' * 81}</pre>", f'<pre tabindex="0">{"&lt;" * 81}</pre>'),
        (f"<pre>{'&lt;' * 80}</pre>", f"<pre>{'&lt;' * 80}</pre>"),
        (
            "<dl>\n<dd>one,</dd>\n<dd>two</dd>\n</dl>",
            '<span class="parameters">\n<span class="parameter">one,</span>\n'
            '<span class="parameter">two</span>\n</span>',
        ),
    ],
)
def test_what_axe_core_objects_to_is_gone(finish, before, after):
    assert finish.accessible(before) == after
    assert finish.accessible(after) == after


def test_a_page_of_source_code_leads_to_where_its_names_are_described(finish):
    reference = '<dt id="firstlight.Loader"><dt id="firstlight.data.loader.Batch">'
    link = '<a class="viewcode-back" href="../../../reference/python.html#firstlight.{}">[docs]</a>'
    before = link.format("Loader") + link.format("Batch")
    after = link.format("Loader") + link.format("data.loader.Batch")
    for source in (before, after):
        assert finish.lead_back(source, "firstlight.data.loader", reference) == after


def test_a_site_that_could_not_be_built_is_left_alone(finish, tmp_path):
    finish.when_built(SimpleNamespace(outdir=tmp_path), RuntimeError("the error that a person should see"))
    with pytest.raises(FileNotFoundError):
        finish.when_built(SimpleNamespace(outdir=tmp_path), None)
