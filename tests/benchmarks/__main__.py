"""All benchmarks, one after another: `uv run python -m tests.benchmarks [--docs] [NAME...]`.

Each `bench_<name>.py` runs as a process of its own, prints its tables and keeps them as JSON. With
`--docs` the tables that are kept are written into docs: to `benchmarks.md` below its heading
"Tables", as JSON to `benchmarks/tables.json`, and their charts beside that.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.measure import RESULTS, Table

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "benchmarks.md"
CHARTS = PAGE.with_suffix("")
HEADING = "## Tables"


def run(names: list[str], *, quick: bool) -> int:
    """Run benchmarks; return how many failed."""
    failed = 0
    for path in sorted(HERE.glob("bench_*.py")):
        if names and path.stem.removeprefix("bench_") not in names:
            continue
        print(f"# {path.stem}", flush=True)
        command = [sys.executable, "-m", f"tests.benchmarks.{path.stem}"]
        done = subprocess.run([*command, *(["--quick"] if quick else [])], check=False)
        failed += done.returncode != 0
    return failed


def write_page() -> None:
    """Write the tables that are kept to the page, as JSON, and as charts.

    A table that was not measured here stays as it is on the page.
    """
    from tests.benchmarks.plots import draw

    CHARTS.mkdir(exist_ok=True)
    kept = CHARTS / "tables.json"
    forms = {each["name"]: each for each in json.loads(kept.read_text(encoding="utf-8"))}
    for path in RESULTS.glob("*.json"):
        forms[path.stem] = json.loads(path.read_text(encoding="utf-8"))
    before, heading, _ = PAGE.read_text(encoding="utf-8").partition(HEADING)
    parts = [before + heading]
    for _, form in sorted(forms.items()):
        table, about = Table.of(form)
        parts.append(table.to_markdown())
        if table.chart is not None:
            light, dark = draw(table, CHARTS)
            parts.append(
                f"![{table.title}](benchmarks/{light}#only-light)\n"
                f"![{table.title}](benchmarks/{dark}#only-dark)"
            )
        parts.append(f"Measured on {about['date']}: {about['machine']}, load {about['load']}.")
    PAGE.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")
    text = json.dumps([form for _, form in sorted(forms.items())], indent=1, ensure_ascii=False)
    kept.write_text(f"{text}\n", encoding="utf-8")


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="such as `warm`; all when left out")
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks")
    arguments = parser.parse_args()
    failed = run(arguments.names, quick=arguments.quick)
    if arguments.docs:
        write_page()
    return failed


if __name__ == "__main__":
    sys.exit(main())
