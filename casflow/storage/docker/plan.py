"""What one registration wants an image to hold, and the digest of all that goes into it.

Owns the labels of an image and the tag that finds an image by its inputs. Invariant: two plans of
one digest give the same image, so what is there already is never built again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casflow.digests import digest_of, hex_of
from casflow.errors import IntegrityError
from casflow.reference import Reference, stamp
from casflow.storage.docker.layer import pack, path_of
from casflow.storage.docker.markers import BY_INPUTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from casflow.blobs.content import Draft
    from casflow.storage.docker.names import ImageName

FLOWS = "io.casflow.flows"
INPUTS = "io.casflow.inputs"
BUILD = "io.casflow.build"
_SHORT = 32  # hexadecimal digits of a digest in a tag
_NONCE = 8  # characters of a build in a tag


@dataclass(frozen=True)
class Plan:
    """One image that shall be there.

    Attributes:
        asked: The name that it shall have; without a tag it gets one of its own.
        environment: Digest of what it is made of, but for the flows.
        directory: Folder of casflow's own files in it.
        drafts: The flows, by name.
        link: Further path of the only flow.
        created: When this was planned.
        build: What no other plan has; it makes the digest of the image its own.
    """

    asked: ImageName
    environment: str
    directory: str
    drafts: Mapping[str, Draft]
    link: str | None
    created: datetime
    build: str

    @property
    def own_tag(self) -> str:
        """The tag of this registration alone, also beside another one of the same microsecond."""
        return f"{stamp(self.created)}-{self.build[:_NONCE]}"

    @property
    def is_chosen(self) -> bool:
        """Whether the user chose the tag, so that another registration may take it away."""
        return self.asked.tag is not None

    @property
    def name(self) -> ImageName:
        """The name that it shall have."""
        return self.asked if self.is_chosen else self.asked.tagged(self.own_tag)

    @property
    def names(self) -> tuple[ImageName, ...]:
        """The names that a registration gives to its image; the first is its own."""
        own = self.name.tagged(self.own_tag)
        return (own, self.name) if self.is_chosen else (own,)

    @cached_property
    def references(self) -> dict[str, Reference]:
        """What the image holds, by name of flow."""
        return {name: self._reference(draft) for name, draft in sorted(self.drafts.items())}

    def _reference(self, draft: Draft) -> Reference:
        return draft.reference(self.created, draft.names)

    @cached_property
    def inputs(self) -> str:
        """Digest of everything that goes into the image."""
        flows = {
            name: [each.media_type, each.digest, sorted(_digests(each.attachments))]
            for name, each in self.references.items()
        }
        parts = [self.environment, self.directory, self.link, flows]
        return digest_of(json.dumps(parts, sort_keys=True).encode())

    @property
    def input_name(self) -> ImageName:
        """The name that finds the image by its inputs."""
        return self.name.tagged(f"{BY_INPUTS}{hex_of(self.inputs)[:_SHORT]}")

    def labels(self) -> dict[str, str]:
        """Return the labels of the image: its flows, without what one registration added."""
        forms = {name: replace(each, labels=()).to_dict() for name, each in self.references.items()}
        return {FLOWS: json.dumps(forms, sort_keys=True), INPUTS: self.inputs, BUILD: self.build}

    def layer(self) -> bytes:
        """Return the archive that holds the flows."""
        sources = (source for draft in self.drafts.values() for source in draft.sources().values())
        blobs = [each.read_bytes() if isinstance(each, Path) else each for each in sources]
        files = {path_of(self.directory, digest_of(data)): data for data in blobs}
        return pack(files, self._links())

    def _links(self) -> dict[str, str]:
        if self.link is None:
            return {}
        first = next(iter(self.references.values()))
        return {self.link: path_of(self.directory, first.digest)}


def _digests(attachments: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    return ((role, each.digest) for role, each in attachments.items())


def references_in(labels: Mapping[str, str], *, where: object) -> dict[str, Reference]:
    """Return what an image says that it holds, by name of flow.

    Raises:
        IntegrityError: It does not say so, or cannot be understood.
    """
    try:
        forms = json.loads(labels[FLOWS])
        return {name: Reference.from_dict(form, where=where) for name, form in forms.items()}
    except (KeyError, ValueError, AttributeError, RecursionError) as error:
        raise IntegrityError("the image names no flows", where=where) from error
