"""The pages hang together, and what they list is all that there is."""

from __future__ import annotations

import inspect
import pkgutil
import re
import tomllib
from dataclasses import fields

import pytest

from casflow import config, errors
from casflow.reference import Reference
from casflow.storage.plugins import CLASSES
from tests.docs import cli_reference, drawings, error_lines
from tests.docs.pages import PAGES, ROOT, anchors, cells, fences, links

DOCS = ROOT / "docs"
ONLY = {"only-light", "only-dark"}  # a picture for one of the page's two colour schemes
WRITE_AGAIN = "run `uv run python -m tests.docs.cli_reference`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page):
    for link in links(page):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.is_file(), link
        assert not anchor or anchor in ONLY or anchor in anchors(target), link


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / ".mkdocs.yml").read_text().partition("nav:\n")[2]
    listed = [line.split()[-1] for line in navigation.splitlines() if line.endswith(".md")]
    assert sorted(listed) == sorted(path.name for path in DOCS.glob("*.md"))


def test_the_reference_of_the_command_line_is_up_to_date():
    assert cli_reference.written() == cli_reference.reference().partition("\n")[2], WRITE_AGAIN


def test_every_command_and_option_is_explained():
    for words, command in cli_reference.commands():
        assert command.help, words
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.help, (words, parameter.name)


def test_the_drawings_are_what_their_source_draws():
    """`uv run python -m tests.docs.drawings` writes them again."""
    there = {path.name: path.read_text(encoding="utf-8") for path in drawings.FOLDER.iterdir()}
    assert there == drawings.files()


def test_every_drawing_is_shown_in_both_colours():
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    for draw in drawings.DRAWINGS:
        for colour in ("light", "dark"):
            assert f"drawings/{draw.__name__}-{colour}.svg#only-{colour}" in text


def error_classes():
    found = vars(errors).values()
    return [each for each in found if inspect.isclass(each) and issubclass(each, Exception)]


@pytest.mark.parametrize("error", error_classes(), ids=lambda error: error.__name__)
def test_every_error_is_listed_with_its_exit_code(error):
    rows = {row[0]: row[1:] for row in cells(DOCS / "errors.md")}
    code, also, *_ = rows[error.__name__]
    assert code == str(error.exit_code)
    ours = {each.__name__ for each in error_classes()}
    foreign = [each.__name__ for each in error.__bases__ if each.__name__ not in ours]
    assert also == ", ".join(foreign).replace("Exception", "")


def test_no_error_is_listed_that_there_is_not():
    listed = {row[0] for row in cells(DOCS / "errors.md") if row[0].endswith("Error")}
    assert listed == {each.__name__ for each in error_classes()}


def test_every_line_of_an_error_is_on_the_page():
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    again = "run `uv run python -m tests.docs.error_lines`"
    assert page.endswith(f"\n{error_lines.text()}"), again
    assert sum(map(len, error_lines.lines().values())) > 200


def test_every_setting_is_listed_with_its_variable():
    rows = {row[0]: row[1] for row in cells(DOCS / "configuration.md")}
    for each in fields(config.Config):
        if each.name not in ("home", "origins"):
            assert rows[each.name] == f"CASFLOW_{each.name.upper()}"


def test_the_defaults_in_the_configuration_page_are_true(tmp_path):
    rows = {row[0]: row[2] for row in cells(DOCS / "configuration.md")}
    loaded = config.load({"CASFLOW_HOME": str(tmp_path)})
    for name in ("cache_dir", "registry", "default_storage"):
        assert rows[name].replace("<home>", str(tmp_path)) == str(getattr(loaded, name))
    assert config.parse_size(rows["cache_limit"]) == loaded.cache_limit
    assert rows["default_labels"] == str(loaded.default_labels).lower()


def test_the_settings_file_that_is_shown_can_be_read(tmp_path):
    shown = [each.text for each in fences(DOCS / "configuration.md") if each.language == "toml"]
    text = "\n".join(shown)
    (tmp_path / "config.toml").write_text(text)
    loaded = config.load({"CASFLOW_HOME": str(tmp_path)})
    assert loaded.cache_limit == 50 * 10**9
    assert loaded.registry == tomllib.loads(text)["registry"]
    assert loaded.options_of("s3://flows/etl")["exclusive_writer"]


def test_the_reference_in_the_format_page_is_one():
    (shown,) = (each.text for each in fences(DOCS / "format.md") if each.language == "json")
    reference = Reference.from_bytes(shown.encode(), where="docs/format.md")
    listed = [name for row in cells(DOCS / "format.md") for name in row[0].split("`, `")]
    assert not reference.extra
    assert set(reference.to_dict()) <= set(listed)


@pytest.mark.parametrize("name", CLASSES)
def test_every_storage_has_a_section(name):
    assert name.lower() in anchors(DOCS / "storages.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_taken_from_docstrings_is_there(page):
    """A name that is gone would end the build of the pages."""
    for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        assert pkgutil.resolve_name(name).__doc__, name
