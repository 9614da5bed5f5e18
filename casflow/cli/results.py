"""`casflow results`: the values of tasks that were written because somebody asked for it."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from casflow import config, secrets
from casflow.cli.groups import Group
from casflow.cli.output import json_option, note, show_json, size, working
from casflow.cli.parameters import NUMBER
from casflow.cli.stores import known
from casflow.cli.table import Column, iso_option, plural, show_table
from casflow.errors import CasflowError, NotFoundError
from casflow.flow.checkpoint import default_writer
from casflow.gc import parse_duration
from casflow.registry import Registry
from casflow.results.stored import Place
from casflow.storage import load
from casflow.storage.urls import open_url

if TYPE_CHECKING:
    from casflow.blobs.base import ObjectInfo
    from casflow.registry import Run


class Written(NamedTuple):
    """A result, as the record of a run has it.

    Attributes:
        run: The run.
        task: Slug of the task.
        location: Where its value was written.
        digest: Digest of the bytes.
    """

    run: Run
    task: str
    location: str
    digest: str


@click.group(cls=Group)
def results() -> None:
    """List, read and remove the values of tasks that were written.

    A value is written only when that is asked for: with task(checkpoint=True), a result= of the
    task or the flow, or the setting `checkpointing`.
    """


@results.command("ls")
@click.argument("stores", nargs=-1, metavar="[STORE]...")
@iso_option
@json_option
def listed(stores: tuple[str, ...], as_json: bool) -> None:
    """List results, with the runs of agents that wrote them.

    STORE is a folder, s3://bucket, gs://bucket or az://container; without one, <home>/results and
    all stores that the registry's versions name. Listed is what is called *.casflow_result, and
    all that stands in <home>/results.
    """
    with Registry(config.load().registry) as registry:
        written = {each.location: each for run in registry.runs(limit=None) for each in _of(run)}
    rows = [_form(place, info, written) for place in _places(stores) for info in _listed(place)]
    if as_json:
        show_json(rows)
    elif rows:
        columns = [
            Column("written"),
            Column("size"),
            Column("run", drop=1),
            Column("flow", drop=3),
            Column("task", drop=2),
            Column("result", tail=True),
        ]
        names = ("run", "flow", "task", "result")
        cells = [
            (datetime.fromisoformat(row["written"]), size(row["bytes"]), *(row[n] for n in names))
            for row in rows
        ]
        show_table(columns, cells)
    else:
        note("no results")


@results.command()
@click.argument("run_id", metavar="RUN", type=NUMBER)
@click.argument("task", required=False)
@json_option
def show(run_id: int, task: str | None, as_json: bool) -> None:
    """List what a run of an agent wrote, or print the value of one TASK of it.

    A value is read only if it has the digest that stands in the record of the run; what is
    pickled runs code of the flow.
    """
    with Registry(config.load().registry) as registry:
        run = registry.get_run(run_id)
        version = registry.get_version(run.project, run.flow, run.version)
    written = _of(run)
    if task is None:
        _list_of(run, written, as_json=as_json)
        return
    found = next((each for each in written if each.task == task), None)
    if found is None:
        hint = f"it has {', '.join(e.task for e in written)}" if written else None
        raise NotFoundError(f"run {run_id} has no result of this task", where=task, hint=hint)
    value = _read(found, version.storage)
    if as_json:
        show_json({"run": run.id, "task": task, "location": found.location, "value": value})
    else:
        click.echo(_text(value))


@results.command()
@click.argument("stores", nargs=-1, metavar="[STORE]...")
@click.option(
    "--keep-within", required=True, metavar="TIME", help="Keep what was written within it: 30d."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@json_option
def prune(
    stores: tuple[str, ...], keep_within: str, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Remove results that were written longer ago than a time.

    STORE and what counts as a result are as for `casflow results ls`. On a terminal the plan is
    shown and confirmed; elsewhere it is only shown unless --yes is given.
    """
    age = parse_duration(keep_within)
    asks = not (as_json or yes or dry_run) and sys.stdin.isatty() and sys.stderr.isatty()
    forms = []
    for place in _places(stores):
        now = place.now() if yes and not dry_run and any(place.results()) else time.time()
        old = [each for each in _listed(place) if _is_old(each, now, age)]
        freed = sum(each.size for each in old)
        form = {"store": place.store.url, "results": len(old), "bytes": freed, "removed": False}
        if not as_json:
            click.echo(f"{place.store.url}: {plural(len(old), 'old result')}, {size(freed)}")
        if old and (yes or (asks and click.confirm("Remove?", err=True))) and not dry_run:
            place.remove(each.key for each in old)
            form["removed"] = True
        forms.append(form)
    if as_json:
        show_json({"stores": forms})
    elif not (yes or dry_run or asks):
        note("nothing was changed: give --yes to do it")


def _list_of(run: Run, written: list[Written], *, as_json: bool) -> None:
    rows = [{"task": e.task, "location": e.location, "digest": e.digest} for e in written]
    if as_json:
        show_json(rows)
    elif rows:
        columns = [Column("task"), Column("digest"), Column("location", tail=True)]
        show_table(columns, [(e.task, e.digest, e.location) for e in written])
    else:
        note(f"run {run.id} has written no results")


# ---- where they are ---------------------------------------------------------------------------


def _places(urls: tuple[str, ...]) -> list[Place]:
    own = open_url(str(config.load().results_dir))
    if urls:
        stores = [open_url(url) for url in urls]
        return [Place(each, alone=each.url == own.url) for each in stores]
    return [Place(own, alone=True), *(Place(each) for each in known().choose(()))]


def _listed(place: Place) -> list[ObjectInfo]:
    with working(f"listing {place.store.url}"):
        return list(place.results())


def _is_old(info: ObjectInfo, now: float, age: timedelta) -> bool:
    return info.modified < now - age.total_seconds()


def _of(run: Run) -> list[Written]:
    """Return what a run's record says that it wrote; what is no such record is passed by."""
    recorded = (run.outcome or {}).get("results")
    pairs = recorded.items() if isinstance(recorded, dict) else ()
    return [
        Written(run, task, each["location"], each["digest"])
        for task, each in pairs
        if isinstance(each, dict)
        and isinstance(each.get("location"), str)
        and isinstance(each.get("digest"), str)
    ]


def _form(place: Place, info: ObjectInfo, written: dict[str, Written]) -> dict[str, Any]:
    address = place.store.location(info.key)
    by = written.get(info.key) or written.get(address)
    return {
        "result": address,
        "bytes": info.size,
        "written": datetime.fromtimestamp(info.modified, UTC).isoformat(timespec="seconds"),
        "run": None if by is None else by.run.id,
        "flow": None if by is None else by.run.flow,
        "task": None if by is None else by.task,
        "digest": None if by is None else by.digest,
    }


def _read(written: Written, storage: Any) -> Any:
    """Return a value that a run wrote, read by the result that wrote it."""
    place = load(storage)
    with secrets.given({name: secrets.Secret(name).get() for name in place.secrets}):
        digest = (written.run.outcome or {}).get("digest", written.run.digest)
        flow = place.load_flow(written.run.flow, digest=digest).flow
        call = next((each for each in flow.calls if each.slug == written.task), None)
        if call is None:
            raise NotFoundError("the flow has no such task", where=written.task)
        writer: Any = call.task.result or flow.result or default_writer(place)
        if not hasattr(writer, "read"):
            raise CasflowError("the result of this task cannot be read", where=repr(writer))
        return writer.read(written.location, digest=written.digest).value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, indent=2, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
