"""What every storage is: a set of named flows, as an object and as JSON.

Owns what a storage knows without asking its backend: parameters, labels, and of each flow the
location, the reference and the signatures. Invariant: the JSON form, which the registry keeps,
holds no secret and no code, and gives the same storage again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

from casflow import config, signing
from casflow.errors import ConfigError, DuplicateFlowError, IntegrityError
from casflow.reference import Reference
from casflow.storage.content import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from casflow.flow import Flow
    from casflow.results import Result
    from casflow.signing import Signed, SigningKey


class NamedFlows(ABC):
    """Flows by name, and where each is.

    Args:
        result: Where the results of its flows' tasks go, when they are asked for.
        secrets: Names of the secrets that are loaded before a flow is read at run time.
        labels: Labels that an agent must carry to run its flows.
        add_default_labels: Whether `default_labels` are added; the setting decides when left out.
        stored_as_script: Whether flows are kept as the script that makes them.

    Attributes:
        flows: Location of each flow, by name.
        references: What each location is known to hold; empty for a flow that only the backend
            knows.
        signatures: What was signed of each flow, where the backend cannot keep it itself.
        uploaded: Bytes that the last `build` had to write for each flow.
    """

    fields: ClassVar[tuple[str, ...]] = ()
    """Constructor parameters that stand in the JSON form; none may be a secret."""

    optional_fields: ClassVar[tuple[str, ...]] = ()
    """Attributes that stand in it only where they are set."""

    def __init__(
        self,
        result: Result | None = None,
        secrets: Iterable[str] | None = None,
        labels: Iterable[str] | None = None,
        add_default_labels: bool | None = None,  # noqa: FBT001 - the original's signature
        stored_as_script: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        self._result = result
        self.secrets = list(secrets or ())
        self._labels = list(labels or ())
        self._add_default_labels = add_default_labels
        self.stored_as_script = stored_as_script
        self.flows: dict[str, str] = {}
        self.references: dict[str, Reference] = {}
        self.uploaded: dict[str, int] = {}
        self.signatures: dict[str, list[str]] = {}
        self._flows: dict[str, Flow] = {}

    @abstractmethod
    def locate(self, flow: Flow) -> str:
        """Return the location that a flow gets when it is added."""

    @property
    def default_labels(self) -> list[str]:
        """Labels that this kind of storage adds by itself."""
        return []

    @property
    def result(self) -> Result | None:
        """Where the results of its flows' tasks go by default."""
        return self._result

    @property
    def name(self) -> str:
        """Name of the kind of storage."""
        return type(self).__name__

    @property
    def labels(self) -> list[str]:
        """Labels that an agent must carry to run its flows, sorted."""
        own = self.default_labels if self.add_default_labels else ()
        return sorted({*self._labels, *own})

    @property
    def add_default_labels(self) -> bool:
        """Whether `default_labels` are added; the setting decides where nobody said."""
        wanted = self._add_default_labels
        return config.load().default_labels if wanted is None else wanted

    @add_default_labels.setter
    def add_default_labels(self, value: bool | None) -> None:
        self._add_default_labels = value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.flows

    def __repr__(self) -> str:
        return f"<Storage: {self.name}>"

    def add_flow(self, flow: Flow) -> str:
        """Take a flow in, to be stored by `build`.

        Returns:
            Its location. Where equal content is stored already, `build` may give another one.

        Raises:
            DuplicateFlowError: A flow of that name is here already.
        """
        return self.flows[self.add(flow)]

    def add(self, flow: Flow) -> str:
        """Take a flow in without storing anything yet; return its name."""
        name = name_of(flow)
        if name in self:
            raise DuplicateFlowError(
                f'Name conflict: Flow with the name "{name}" is already present in this storage.'
            )
        self.flows[name] = self.locate(flow)
        self._flows[name] = flow
        return name

    # ---- signatures ------------------------------------------------------------------------

    def find_signatures(self, name: str, reference: Reference) -> list[bytes]:
        """Return what was signed of a flow's digest; nobody has checked it yet."""
        del reference
        return [text.encode() for text in self.signatures.get(name, ())]

    def sign(self, name: str, reference: Reference, key: SigningKey) -> None:
        """Sign what a flow is registered as, unless the key has done so before.

        Raises:
            AccessError: The key refuses.
        """
        found = self.find_signatures(name, reference)
        signed = signing.signed_anew(signing.Statement.of(reference), key, found)
        if signed is not None:
            self.keep_signature(name, reference, signed)

    def take_over_signatures(self, name: str, reference: Reference, before: Iterable[str]) -> None:
        """Let those signatures of an earlier version count that say the same of this one."""
        statement = signing.Statement.of(reference)
        kept = [text for text in before if signing.find_signatures([text.encode()], statement)]
        if kept:
            self.signatures[name] = list(dict.fromkeys([*kept, *self.signatures.get(name, ())]))

    def keep_signature(self, name: str, reference: Reference, signed: Signed) -> None:
        """Keep a signature of a flow where `find_signatures` finds it."""
        del reference
        self.signatures.setdefault(name, []).append(signed.to_bytes().decode())

    # ---- JSON form -------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """Return the JSON form without its flows: what makes two storages the same place."""
        own = {field: _json_value(getattr(self, field)) for field in self.fields}
        further = {field: getattr(self, field) for field in self.optional_fields}
        chosen = {field: value for field, value in further.items() if value not in (None, False)}
        return {"type": type(self).__name__, "secrets": list(self.secrets), **own, **chosen}

    def serialize(self, only: str | None = None) -> dict[str, Any]:
        """Return the JSON form, of all flows or of only one; it holds no secret and no code."""
        names = self.flows if only is None else (only,)
        flows = {name: self.flows[name] for name in names}
        references = {
            name: self.references[name].to_dict() for name in names if name in self.references
        }
        signatures = {name: self.signatures[name] for name in names if self.signatures.get(name)}
        form = {**self.identity(), "flows": flows, "references": references}
        return {**form, "signatures": signatures} if signatures else form

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> Self:
        """Return the storage of its JSON form."""
        values = {field: form[field] for field in cls.fields if field in form}
        try:
            storage = cls(**values, secrets=form.get("secrets"), **cls._restore_options())
        except TypeError as error:
            raise ConfigError(f"cannot restore a {cls.__name__} storage ({error})") from error
        for field in cls.optional_fields:
            if field in form:
                setattr(storage, field, form[field])
        storage.flows.update(form.get("flows", {}))
        for name, each in form.get("references", {}).items():
            storage.references[name] = Reference.from_dict(each, where=storage.flows.get(name))
        storage.signatures.update(_texts(form.get("signatures", {})))
        return storage

    @classmethod
    def _restore_options(cls) -> dict[str, Any]:
        """Return constructor arguments that only a storage read from its JSON form gets."""
        return {}


def _texts(form: Any) -> dict[str, list[str]]:
    """Return lists of text by name.

    Raises:
        IntegrityError: It is something else.
    """
    try:
        return {str(name): ["".join(text) for text in texts] for name, texts in form.items()}
    except (AttributeError, TypeError) as error:
        raise IntegrityError("damaged signatures of a flow", where="a storage's form") from error


def _json_value(value: Any) -> Any:
    """Return a field as JSON has it."""
    if isinstance(value, tuple | list):
        return [_json_value(each) for each in value]
    return value if isinstance(value, str | int | float | dict | None) else str(value)
