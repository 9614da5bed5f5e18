"""`casflow push`, `checkout`, `exec`, `cat`, `copy` and `status`: trees in a store.

Owns what these commands print. Invariant: they use the public `casflow.Store` only, so what the
command line can do, a program can.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from casflow import cache, store_options
from casflow.cache.folders import Folders
from casflow.cli.output import json_option, show_json, size
from casflow.cli.sign import asked_key, sign_option
from casflow.cli.table import short
from casflow.errors import CasflowError, ConfigError, NotFoundError
from casflow.refs import parse_ref_and_path
from casflow.store import Store, finish_leases, origin_of
from casflow.streams import write_content
from casflow.trees.changes import changes
from casflow.trees.scan import scan, silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casflow.store import Version
    from casflow.trees.scan import Progress

_MOST_COMPLETIONS = 100

store_option = click.option(
    "--store", metavar="STORE", help="Where the tree is.  [default: the setting `store`]"
)


def _promise(ctx: click.Context, _: click.Parameter, is_promised: bool) -> None:
    if is_promised:
        ctx.with_resource(store_options.exclusive_writer())


exclusive_writer_option = click.option(
    "--exclusive-writer",
    is_flag=True,
    expose_value=False,
    callback=_promise,
    help="Promise that nobody else writes to the store, which knows no conditional writes.",
)


def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return names, or names with their tags and versions once there is an @."""
    del param
    name, at, _ = incomplete.rpartition("@")
    try:
        store = Store(ctx.params.get("store"))
        if at:
            words = [f"{name}@{tag}" for tag in store.tags(name)]
            words += [f"{name}@{each.version}" for each in store.versions(name)]
        else:
            words = store.names()
    except CasflowError:
        return []
    return [word for word in words if word.startswith(incomplete)][:_MOST_COMPLETIONS]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("name", required=False, shell_complete=complete)
@click.option("--label", "labels", multiple=True, help="A label of the version.")
@click.option("--tag", "tags", multiple=True, help="A tag that shall name the version.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@sign_option
@store_option
@exclusive_writer_option
@json_option
def push(
    folder: Path,
    name: str | None,
    labels: tuple[str, ...],
    tags: tuple[str, ...],
    dry_run: bool,
    sign: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Store FOLDER as the next version of NAME, unless the newest one is the same.

    NAME is the folder's own when left out. What .gitignore and .casflowignore leave out is not
    pushed; a file that looks like a secret is refused unless .casflowinclude names it.
    """
    opened = Store(store)
    with _progress() as progress:
        version = opened.push(
            folder,
            folder.resolve().name if name is None else name,
            labels,
            progress=progress,
            dry_run=dry_run,
            sign=asked_key(sign),
        )
    for tag in () if dry_run else tags:
        opened.tag(version, tag, sign=asked_key(sign))
    done = "pushed" if version.is_new else "unchanged"
    if as_json:
        form = {**form_of(version), "status": done, "uploaded_bytes": version.uploaded}
        show_json({**form, "dry_run": dry_run})
        return
    done = f"would be {done}" if dry_run else done
    uploaded = f"{size(version.uploaded)} {'to upload' if dry_run else 'uploaded'}"
    click.echo(f"{version}: {done}, {short(version.digest)}, {uploaded}")


@click.command()
@click.argument("ref", shell_complete=complete)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--full", is_flag=True, help="Hash all files even if they look unchanged.")
@store_option
@json_option
def checkout(ref: str, folder: Path | None, full: bool, store: str | None, as_json: bool) -> None:
    """Make a folder of the version REF and print its path.

    With FOLDER it is a private, writable copy; without, the shared, read-only one of this
    machine's cache.
    """
    opened = Store(store)
    version: Version | str = opened.resolve(ref) if as_json else ref
    with _progress() as progress:
        path = opened.checkout(
            version, folder, verify="full" if full else "stat", progress=progress
        )
    if as_json and not isinstance(version, str):
        show_json({**form_of(version), "path": str(path)})
    else:
        click.echo(str(path))


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("ref", shell_complete=complete)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@store_option
def execute(ref: str, command: tuple[str, ...], store: str | None) -> None:
    """Run COMMAND in the version REF: casflow exec etl@prod -- python -m etl.

    The tree is the working folder, read-only, and comes first on PYTHONPATH. The command takes
    the place of this process, so its output and exit code are its own.
    """
    with _progress() as progress:
        path = Store(store).checkout(ref, progress=progress)
    finish_leases()
    folders = Folders(cache.default().root)
    descriptor = folders.descriptor(path.name)
    if descriptor is not None:  # the command holds the folder as long as it runs
        os.set_inheritable(descriptor, True)
    environment = {
        **os.environ,
        "PWD": str(path),
        "PYTHONPATH": os.pathsep.join([str(path), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONDONTWRITEBYTECODE": "1",  # others share the folder
    }
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.chdir(path)
        os.execvpe(command[0], command, environment)  # noqa: S606 - what the user asked for
    except FileNotFoundError as error:
        raise NotFoundError("no such command", where=command[0]) from error
    except OSError as error:
        raise ConfigError(f"cannot run it ({error.strerror})", where=command[0]) from error


@click.command()
@click.argument("ref_and_path", metavar="REF:PATH", shell_complete=complete)
@store_option
@json_option
def cat(ref_and_path: str, store: str | None, as_json: bool) -> None:
    """Print the file PATH of the version REF; without :PATH, list its files."""
    ref, path = parse_ref_and_path(ref_and_path)
    opened = Store(store)
    if path and as_json:
        show_json(opened.listing(ref).get(path).to_dict())
    elif path:
        with opened.open_file(ref, path) as file:
            write_content(file)
    elif as_json:
        show_json([entry.to_dict() for entry in opened.listing(ref)])
    else:
        for entry in opened.listing(ref):
            click.echo(entry.path + (f" -> {entry.target}" if entry.target else ""))


@click.command()
@click.argument("source", metavar="STORE")
@click.argument("ref")
@click.argument("target", metavar="STORE")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@exclusive_writer_option
@json_option
def copy(source: str, ref: str, target: str, dry_run: bool, as_json: bool) -> None:
    """Copy the version REF from one STORE to another; only what is missing there is sent."""
    version = Store(source).copy(ref, Store(target), dry_run=dry_run)
    done = "copied" if version.is_new else "unchanged"
    if as_json:
        form = {**form_of(version), "status": done, "uploaded_bytes": version.uploaded}
        show_json({**form, "dry_run": dry_run})
        return
    done = f"would be {done}" if dry_run else done
    sent = f"{size(version.uploaded)} {'to upload' if dry_run else 'uploaded'}"
    click.echo(f"{version}: {done}, {short(version.digest)}, {sent}")


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@json_option
def status(folder: Path | None, as_json: bool) -> int:
    """Show what was edited in FOLDER since it was checked out; the exit code is 1 if anything was.

    M is a changed file, A one that is new, D one that is gone.
    """
    folder = folder or Path()
    origin = origin_of(folder)
    if origin is None:
        hint = "compare it with `casflow diff FOLDER REF`"
        raise NotFoundError("not a folder that was checked out here", where=folder, hint=hint)
    before = Store(origin["store"]).listing(origin["digest"])
    found = changes(before, scan(folder))
    if as_json:
        show_json({**origin, "changes": [each.to_dict() for each in found]})
    else:
        number = f"@{origin['version']}" if origin["version"] else ""
        click.echo(f"on {origin['name'] or ''}{number}, {short(origin['digest'])}")
        for each in found:
            click.echo(str(each))
    return 1 if found else 0


def form_of(version: Version) -> dict[str, Any]:
    """Return the JSON form of a version."""
    return {**version.to_dict(), "path_safe": version.path_safe}


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show on a terminal how far a push or a checkout has come."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console

    with Console(stderr=True).status("") as spinner:

        def shown(stage: str, done: int, total: int) -> None:
            if stage == "hash":
                spinner.update(f"hashing {done} of {total} files")
            else:
                spinner.update(f"{stage} {size(done)} of {size(total)}")

        yield shown
