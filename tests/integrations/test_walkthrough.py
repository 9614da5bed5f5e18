"""The example projects are those that the pages show; the pages of Dask and pandas, typed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.integrations.conftest import host_of
from tests.integrations.walkthrough import EXAMPLES, files_in, files_of, type_page
from tests.services import hosts

PAGES = {each.name: "files" if each.name == "fsspec" else each.name for each in EXAMPLES.iterdir()}


@pytest.mark.parametrize("example", sorted(PAGES))
def test_an_example_is_what_its_page_shows(example: str) -> None:
    assert files_in(EXAMPLES / example) == files_of(PAGES[example])


@pytest.mark.parametrize("page", [*sorted(PAGES.values())])
def test_a_page_says_what_happens_without_a_store_and_how_to_go_back(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    assert "\n## When the store is down\n" in text
    assert "\n## Roll back\n" in text


@pytest.mark.slow
def test_dask_as_its_page_says(store, tmp_path: Path) -> None:
    home = tmp_path / "host"
    home.mkdir()
    host = hosts.Host(Path(sys.prefix), hosts.environment(home))
    type_page("dask", host, tmp_path, CASFLOW_STORE=store.url)


@pytest.mark.slow
@pytest.mark.service
def test_pandas_and_pyarrow_as_their_page_says(store, tmp_path: Path) -> None:
    host = host_of("pandas", tmp_path)
    (tmp_path / "work").mkdir()
    type_page("files", host, tmp_path / "work", CASFLOW_STORE=store.url)
    assert (tmp_path / "work" / "copy" / "rates.csv").read_text().startswith("currency,rate")
