"""A benchmark says what is not to be had on a machine, and goes on or ends well."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.benchmarks import peers
from tests.services.azure import AzuriteServer


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without programs, and without what earlier runs left."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CASFLOW_TEST_AZURITE", str(tmp_path))
    monkeypatch.setattr(peers, "_interpreter", lambda _: "python3.10")


def test_a_peer_without_its_installer_is_not_to_be_had(bare):
    with pytest.raises(peers.NotToBeHadError, match="uv"):
        peers.prefect()
    with pytest.raises(peers.NotToBeHadError):
        peers.Peer(Path("nowhere/python"), Path("peer.py"), {})


def test_a_server_that_is_not_installed_is_not_to_be_had(bare):
    with ExitStack() as stack, pytest.raises(peers.NotToBeHadError, match=r"azurite|setpriv"):
        peers.serve(stack, AzuriteServer)


def test_a_benchmark_without_its_server_says_so(bare, capsys):
    with ExitStack() as stack:
        peers.or_say(lambda: peers.serve(stack, AzuriteServer))
    assert capsys.readouterr().out.startswith("not to be had here: ")
