"""Settings: where casflow keeps things, how much it may keep, and what it does by default.

Owns every environment variable of casflow but those that hold secrets, and the file
`<home>/config.toml`. Invariant: nothing else reads either; whoever needs a setting is handed a
`Config`. An environment variable wins over the file, the file over the default, and each value
remembers which of them it came from.
"""

from __future__ import annotations

import logging
import os
import re
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casflow import store_options
from casflow.errors import AccessError, ConfigError, NotOfferedAttributeError, did_you_mean
from casflow.files import read_whole
from casflow.redaction import remember_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}

VARIABLES = (
    "HOME",
    "CASFLOW_HOME",
    "CASFLOW_CACHE_DIR",
    "CASFLOW_CACHE_LIMIT",
    "CASFLOW_REGISTRY",
    "CASFLOW_DEFAULT_STORAGE",
    "CASFLOW_DEFAULT_LABELS",
    "CASFLOW_CHECKPOINTING",
    "CASFLOW_RETENTION",
    "CASFLOW_STORE",
    "CASFLOW_S3_UPLOAD_OPTIONS",
    "CASFLOW_STORES",
    "CASFLOW_ALLOWED_SIGNERS",
    "CASFLOW_REVOKED_KEYS",
    "CASFLOW_REQUIRE",
    "CASFLOW_THRESHOLD",
    "CASFLOW_SIGNING_KEY",
)
_PREFECT = frozenset(
    {"flows", "tasks", "engine", "cloud", "server", "logging", "context", "backend"}
)
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
State = tuple[int, int] | None
log = logging.getLogger("casflow")
_warned: set[Path] = set()
_read_last: list[tuple[str, dict[Any, Any], State, str, Config]] = []  # one, or none yet


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of casflow.

    Attributes:
        home: Folder of everything that casflow keeps on this machine.
        cache_dir: Folder of the local cache; it may be deleted at any time.
        cache_limit: Bytes that the cache may hold.
        registry: URL of the registry's database.
        default_storage: Dotted name of the class that a flow without a storage gets.
        default_labels: Whether a storage adds its own labels (`Local`: the host's name).
        checkpointing: Whether the values of all tasks are written, to where their storage says.
        retention: What `casflow gc` keeps of each flow, such as `last=5 within=30d`.
        store: URL of the store that trees are pushed to; empty for the folder of flows.
        allowed_signers: File of the keys that are trusted to sign, as ssh-keygen reads it.
        revoked_keys: File of public keys that are not trusted any more.
        require: Patterns of names, such as `prod/*`, and of tags, such as `*@prod`, that mean
            nothing unless they are signed.
        threshold: How many signers each of these needs.
        signing_key: Path of the key that `--sign` uses, or the public key itself.
        s3_upload_options: What every upload to S3 needs where a store is named by its URL, as JSON.
        stores: Options of single stores, by their URL; `options_of` finds those of a store.
        origins: For each setting `default`, the file's path, or the environment variable's name.
    """

    home: Path
    cache_dir: Path
    cache_limit: int
    registry: str
    default_storage: str
    default_labels: bool
    checkpointing: bool
    retention: str
    store: str
    s3_upload_options: str
    stores: Mapping[str, Mapping[str, Any]] = field(compare=False)
    allowed_signers: Path
    revoked_keys: Path
    require: tuple[str, ...]
    threshold: int
    signing_key: str
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def flows_dir(self) -> Path:
        """Folder in which `Local` storage keeps flows."""
        return self.home / "flows"

    @property
    def results_dir(self) -> Path:
        """Folder in which `LocalResult` keeps results."""
        return self.home / "results"

    def options_of(self, store: str) -> dict[str, Any]:
        """Return what the settings say of a store, by its URL, such as `s3://bucket/prefix`."""
        return store_options.find(self.stores, store)


def load(environ: Mapping[str, str] | None = None) -> Config:
    """Read the settings of this process.

    Args:
        environ: The environment to read; that of the process when left out.

    Raises:
        ConfigError: A value or the file cannot be understood.
        AccessError: The home is another user's.
    """
    environ = os.environ if environ is None else environ
    # As the system has it: to decode the variables would be a third of a warm read.
    raw, folder = getattr(environ, "_data", environ), _current_folder()
    for last_folder, last_raw, last_state, path, loaded in _read_last:
        if folder == last_folder and raw == last_raw and _state_of(path) == last_state:
            return loaded
    home, origin = _home(environ)
    _require_own(home)
    file = home / "config.toml"
    state = _state_of(str(file))
    loaded = _load(environ, home, origin, file)
    _read_last[:] = [(folder, dict(raw), state, str(file), loaded)]
    return loaded


def _current_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - text, for comparison
    except FileNotFoundError:
        return ""


def _absolute(path: str, origin: str) -> Path:
    """Return a path of the settings.

    Raises:
        ConfigError: It depends on a home or a current folder that is not there.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        hint = "set CASFLOW_HOME to a folder"
        raise ConfigError("this user has no home folder", where=path, hint=hint) from error
    except FileNotFoundError as error:
        hint = f"change to another one, or write {origin} as an absolute path"
        raise ConfigError("the current folder is gone", where=path, hint=hint) from error


def _state_of(file: str) -> State:
    try:
        stat = os.stat(file)  # noqa: PTH116 - the settings are asked for at every warm read
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _load(environ: Mapping[str, str], home: Path, origin: str, file: Path) -> Config:
    written = _read(file)
    values: dict[str, Any] = {"home": home}
    origins = {"home": origin}
    for name, default in _defaults(home).items():
        values[name], origins[name] = default, "default"
        if name in written:
            values[name], origins[name] = written[name], str(file)
        variable = f"CASFLOW_{name.upper()}"
        if environ.get(variable):
            values[name], origins[name] = environ[variable], variable
        values[name] = _convert(name, values[name], origins[name])
    return Config(**values, origins=origins)


def make_folder(folder: Path, *, private: bool = True) -> None:
    """Make a folder and those above it, if they are not there.

    Args:
        folder: The folder.
        private: Whether it is for this user alone; what is below the home always is.

    Raises:
        OSError: It cannot be made.
    """
    if folder.is_dir():
        return
    home = _home_or_none()
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        with suppress(FileExistsError):  # somebody else was faster
            each.mkdir()
            if private or (home is not None and home in (each, *each.parents)):
                each.chmod(0o700)  # whatever the umask
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)  # says what is in the way


def _require_own(home: Path) -> None:
    """Check that a home, if it is there, is of this user or of root: it says what code is run.

    Raises:
        AccessError: It is another user's.
    """
    try:
        owner = home.stat().st_uid
    except OSError:
        return
    if hasattr(os, "geteuid") and owner not in (os.geteuid(), 0):
        hint = "set CASFLOW_HOME to a folder of yours, or run casflow as its owner"
        raise AccessError("this home is another user's", where=home, hint=hint)


def _home_or_none() -> Path | None:
    try:
        return _home(os.environ)[0]
    except ConfigError:
        return None


def warn_of_readers(path: Path) -> None:
    """Warn, once a process, of a file or folder in the home that other users can get at."""
    home = _home_or_none()
    if home is None:
        return
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    is_ours = home in (path, *path.parents)
    if os.name == "posix" and is_ours and mode & 0o077 and path not in _warned:
        _warned.add(path)
        log.warning("other users can get at %s; run chmod -R go= %s", path, home)


def child_environment(
    keep: Callable[[str], bool], environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the variables of this process that a child shall inherit."""
    environ = os.environ if environ is None else environ
    return {name: value for name, value in environ.items() if keep(name)}


def _home(environ: Mapping[str, str]) -> tuple[Path, str]:
    if environ.get("CASFLOW_HOME"):
        return _absolute(environ["CASFLOW_HOME"], "CASFLOW_HOME"), "CASFLOW_HOME"
    return _absolute("~/.casflow", "CASFLOW_HOME"), "default"


def _defaults(home: Path) -> dict[str, Any]:
    return {
        "cache_dir": home / "cache",
        "cache_limit": 10 * 10**9,
        "registry": f"sqlite:///{home / 'registry.db'}",
        "default_storage": "casflow.storage.Local",
        "default_labels": True,
        "checkpointing": False,
        "retention": "",
        "store": "",
        "s3_upload_options": "",
        "stores": {},
        "allowed_signers": home / "allowed_signers",
        "revoked_keys": home / "revoked_keys",
        "require": (),
        "threshold": 1,
        "signing_key": "",
    }


def _read(file: Path) -> dict[str, Any]:
    try:
        written = tomllib.loads(read_whole(file).decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ConfigError:
        raise
    except (ValueError, RecursionError, OSError) as error:  # also digits and brackets without end
        raise ConfigError(f"cannot read the settings ({error})", where=file) from error
    known = {each.name for each in fields(Config)} - {"home", "origins"}
    if unknown := sorted(set(written) - known):
        listed = f"known settings are {', '.join(sorted(known))}"
        hint = did_you_mean(unknown[0], known, listed)
        raise ConfigError(f"unknown setting {unknown[0]!r}", where=file, hint=hint)
    return written


def _convert(name: str, value: Any, origin: str) -> Any:
    if name in ("cache_dir", "allowed_signers", "revoked_keys"):
        return _absolute(_text(name, value, origin), origin)
    if name == "cache_limit":
        is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return value if is_number else parse_size(str(value), where=origin)
    if name in ("default_labels", "checkpointing") and not isinstance(value, bool):
        if str(value).lower() not in _BOOLEANS:
            raise ConfigError(f"not true or false: {value!r}", where=origin)
        return _BOOLEANS[str(value).lower()]
    readers = {"require": _patterns, "stores": store_options.read, "threshold": _threshold}
    if name in readers:
        return readers[name](value, origin)
    if name in (
        "registry",
        "default_storage",
        "retention",
        "store",
        "s3_upload_options",
        "signing_key",
    ):
        value = _text(name, value, origin)
    if name == "registry":
        remember_url(value)
    return value


def _patterns(value: Any, origin: str) -> tuple[str, ...]:
    """Return patterns of names: a list of text, or words of one text."""
    patterns = value.split() if isinstance(value, str) else value
    if not isinstance(patterns, list | tuple) or not all(
        isinstance(each, str) and each for each in patterns
    ):
        hint = 'write it as ["prod/*", "*@prod"]'
        raise ConfigError(f"require is no list of patterns: {value!r}", where=origin, hint=hint)
    return tuple(patterns)


def _threshold(value: Any, origin: str) -> int:
    number = str(value)
    if isinstance(value, bool) or not re.fullmatch("[1-9][0-9]{0,2}", number):
        raise ConfigError(f"threshold is no number from 1: {value!r}", where=origin)
    return int(number)


def ca_bundle(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the file of certificate authorities that the user named, or None.

    `SSL_CERT_FILE`, `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE` and `GIT_SSL_CAINFO` are asked in this
    order; the first that is set counts for every backend.

    Raises:
        ConfigError: It names no file.
    """
    environ = os.environ if environ is None else environ
    for variable in _CA_VARIABLES:
        if path := environ.get(variable):
            if not Path(path).exists():
                raise ConfigError(f"{variable} names no file of certificates", where=path)
            return path
    return None


def _text(name: str, value: Any, origin: str) -> str:
    if not isinstance(value, str | Path) or "\0" in str(value):
        raise ConfigError(f"{name} is not text: {value!r}", where=origin)
    return str(value)


def docker_host(environ: Mapping[str, str] | None = None) -> str:
    """Return the address of the Docker engine that the docker client would use."""
    environ = os.environ if environ is None else environ
    default = "npipe:////./pipe/docker_engine" if os.name == "nt" else "unix:///var/run/docker.sock"
    return environ.get("DOCKER_HOST") or default


def parse_size(text: str, *, where: object = None) -> int:
    """Return the bytes that a size such as `500 MB`, `2GiB` or `1000` stands for.

    Raises:
        ConfigError: It is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].upper() not in _UNITS:
        raise ConfigError(f"not a size: {text!r}", where=where, hint="write it as 500MB or 2GiB")
    try:
        return int(float(match[1]) * _UNITS[match[2].upper()])
    except OverflowError as error:
        raise ConfigError(f"not a size: {text[:20]!r}…", where=where) from error


def __getattr__(name: str) -> Any:
    """Answer for the sections of Prefect 1's settings, such as `config.flows.checkpointing`."""
    if name in _PREFECT:
        hint = "casflow.config.load() has the settings (see docs/from-prefect.md)"
        what = f"casflow has no {name!r}"
        raise NotOfferedAttributeError(what, where="casflow.config", hint=hint)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
