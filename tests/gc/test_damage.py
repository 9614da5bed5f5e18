"""The page of damages says what the code does, and no damage is without a way out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.gc.damage import MEMORY, Damaged, table

PAGE = Path(__file__).parents[2] / "docs" / "damage.md"
TRIED = "truncate"  # of each object; the whole page takes ten times as long


def rows():
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    return {tuple(row[:2]): row[2:] for row in cells}


def test_no_damage_is_without_a_way_out():
    assert rows()
    assert all(row[-1] != "None" for row in rows().values())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_each_command_does_what_the_page_says():
    written = rows()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        damaged = Damaged(Path(folder))
        assert {kind for kind, _ in written} == {kind.name for kind in damaged.kinds}
        for kind, damage, *cells in table(damaged, lambda _, damage: damage == TRIED):
            assert written[kind, damage] == cells, f"{kind}, {damage}"
