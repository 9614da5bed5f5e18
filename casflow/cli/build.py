"""`casflow build`: flows are stored now and registered later, maybe on another machine.

Owns the first half of a registration; `casflow register --built FILE` is the second.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from casflow.cli.built import form_of, read_built, write_built
from casflow.cli.flows import find_sources, importing
from casflow.cli.output import working
from casflow.cli.register import choose_flows, flows_by_storage
from casflow.cli.table import short
from casflow.errors import FlowNotFoundError
from casflow.registry import check_project
from casflow.storage.content import name_of

if TYPE_CHECKING:
    from casflow.cli.flows import Source


@click.command()
@click.argument("scripts", nargs=-1)
@click.option("-p", "--path", "paths", multiple=True, help="As for `casflow register`.")
@click.option("-m", "--module", "modules", multiple=True, help="As for `casflow register`.")
@click.option("-n", "--name", "names", multiple=True, help="Only the flow of this name.")
@click.option("--project", help="Project that they are to be registered in.  [default: default]")
@click.option("--storage", "store", metavar="URL", help="As for `casflow register`.")
@click.option(
    *("-o", "--output"),
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("flows.json"),
    show_default=True,
    help="The file that says what was stored.",
)
@click.option("-u", "--update", is_flag=True, help="Keep the other flows that the file names.")
def build(
    scripts: tuple[str, ...],
    paths: tuple[str, ...],
    modules: tuple[str, ...],
    names: tuple[str, ...],
    project: str | None,
    store: str | None,
    output: Path,
    update: bool,
) -> None:
    """Store flows without registering them; `casflow register --built FILE` does that later."""
    sources = find_sources([*scripts, *paths], modules)
    built: dict[str, dict[str, Any]] = {}
    if update and output.exists():
        built = {each[0]: form_of(*each) for each in read_built(output)}
    seen: dict[str, Source] = {}
    for source in sources:
        with importing():
            flows = choose_flows(source, names, seen, is_only=len(sources) == 1)
            for storage, together in flows_by_storage(flows, None, store):
                with working("storing"):
                    for flow in together:
                        storage.add_or_replace(name_of(flow), flow)
                    storage.flow_project, storage.loads_new = check_project(project), True
                    storage.build()
                names_here = [name_of(flow) for flow in together]
                built |= {name: form_of(name, storage, storage.labels) for name in names_here}
    if not seen:
        raise FlowNotFoundError("no flow found", where=", ".join(map(str, sources)))
    write_built(output, built)
    for name in sorted(seen):
        digest = built[name]["storage"]["references"][name]["digest"]
        click.echo(f"{name}: stored, {short(digest)}")
    click.echo(f"  {output}")
