"""`casflow doctor`: what is wrong with this machine's set-up, and what mends it.

Owns how findings are shown. Invariant: nothing is changed without `--fix`, and `--fix` does only
what cannot lose anything (permissions); a check that cannot be made is a finding, not an error.
"""

from __future__ import annotations

from dataclasses import asdict

import click

from casflow.cli.doctor.finding import BROKEN, WARNING, Finding
from casflow.cli.output import json_option, note, show_json, working
from casflow.cli.table import plural


@click.command()
@click.option("--fix", is_flag=True, help="Mend permissions of the home.")
@json_option
def doctor(fix: bool, as_json: bool) -> int:
    """Check the settings, home, permissions, registry, cache, clock, packages and stores.

    Each check is a line: ok, warning or broken, and what mends it. The exit code is 1 if anything
    is broken.
    """
    from casflow.cli.doctor.checks import check_all

    with working("checking"):
        findings = check_all(fix=fix)
    broken = [each for each in findings if each.status == BROKEN]
    warnings = [each for each in findings if each.status == WARNING]
    if as_json:
        show_json({"healthy": not broken, "findings": [asdict(each) for each in findings]})
    else:
        for each in findings:
            _show(each)
        if broken or warnings:
            note(f"{len(broken)} broken, {plural(len(warnings), 'warning')}")
    return 1 if broken else 0


def _show(finding: Finding) -> None:
    mend = f"; {finding.mend}" if finding.mend else ""
    click.echo(f"{finding.status:<8} {finding.check:<12} {finding.what}{mend}")
