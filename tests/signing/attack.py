"""A store, honest people who push, tag and sign, and an attacker who can write anything to it.

One seed decides everything. After each step every name is asked for what it means, with the cache
that was there and with a new one; whatever comes must have been signed by a trusted key for that
name, and a tag must not come to mean what it meant before what was seen.
"""

from __future__ import annotations

import json
import random
import re
from contextlib import suppress

import casflow
from casflow.blobs import layout
from casflow.cache import Cache
from casflow.digests import digest_of
from casflow.errors import CasflowError
from casflow.reference import Reference
from casflow.signing.engines import SigningKey
from casflow.signing.statement import Signed, Statement

NAMES = ("prod/a", "prod/b")
TAGS = ("live",)  # one, so that it moves often
HONEST, EVIL = ("anna", "bob"), "mallory"


class BrokenError(AssertionError):
    """A name came to mean what nobody that is trusted signed, or a tag went back."""


class Attack:
    """One scenario.

    Args:
        seed: Decides everything.
        folder: An empty folder.
        keys: Path of each person's key.
    """

    def __init__(self, seed, folder, keys):
        self.random = random.Random(seed)
        self.folder, self.keys = folder, keys
        self.url = f"memory://attack-{folder.name}-{seed}"
        self.caches = 0
        self.store = self._open()
        self.raw = self.store._content.store
        self.seen = {}  # every object that ever was, by its key
        self.signed = {name: set() for name in NAMES}  # what is signed: digest, kind, start
        self.moves = {}  # numbers and digests that each tag was signed for
        self.last = {}  # how far a tag was seen
        self.used = 0

    def _open(self):
        self.caches += 1
        cache = Cache(self.folder / f"cache-{self.caches}", 10**9)
        return casflow.Store(self.url, cache=cache)

    def run(self, steps=30):
        for number in range(steps):
            honest = number < 6 or self.random.random() < 0.3
            (self._honest if honest else self._attack)()
            self._remember()
            if self.random.random() < 0.1:
                self.store = self._open()
            self._look()

    # ---- honest people -----------------------------------------------------------------------

    def _honest(self):
        choose = self.random.choice
        name, key = choose(NAMES), str(self.keys[choose(HONEST)])
        act = choose((self._push, self._push, self._tag, self._tag, self._push_unsigned))
        before = set(self._keys(layout.SIGNATURES))
        with suppress(CasflowError):  # the attacker is in the way
            act(name, key)
        for new in set(self._keys(layout.SIGNATURES)) - before:
            self._learn(Signed.from_bytes(self.raw.get(new)).statement)

    def _push(self, name, key):
        self.store.push(self._folder(), name, sign=key)

    def _push_unsigned(self, name, _):
        self.store.push(self._folder(), name)

    def _tag(self, name, key):
        tag = self.random.choice(TAGS)
        version = self.random.choice(self.store.versions(name) or [None])
        if version is None or facts(version.reference) not in self.signed[name]:
            return
        self.store.tag(version, tag, sign=key)

    def _learn(self, said):
        """Note what somebody honest has signed, also where the rest could not be done."""
        self.signed[said.name].add((said.name, said.digest, said.media_type, said.entry))
        if said.move is not None:
            moves = self.moves.setdefault((said.name, said.move.tag), set())
            moves.add((said.move.counter, said.digest))

    def _folder(self):
        path = self.folder / "tree"
        path.mkdir(exist_ok=True)
        (path / "main.py").write_text(self.random.choice(("one", "two", "three")))
        (path / "evil.py").write_text("evil")
        return path

    # ---- the attacker ------------------------------------------------------------------------

    def _attack(self):
        acts = (self._delete, self._roll_back, self._restore, self._transplant, self._forge)
        acts += (self._forge_move, self._forge_move, self._forge_signature, self._forge_signature)
        self.random.choice(acts)()

    def _keys(self, prefix=""):
        return sorted(i.key for i in self.raw.list(prefix) if not i.key.endswith("format"))

    def _references(self):
        return [k for k in self._keys() if layout.is_reference(k) or k.startswith(layout.TAGS)]

    def _delete(self):
        if keys := self.random.choice((self._keys(), self._references(), self._keys(layout.TAGS))):
            self.raw.delete(self.random.choice(keys))

    def _roll_back(self):
        """Take the newest move of a tag away."""
        prefix = layout.tag_move(self.random.choice(NAMES), self.random.choice(TAGS), 0)[:-8]
        if moves := self._keys(prefix):
            self.raw.delete(moves[-1])

    def _restore(self):
        if not self.seen:
            return
        key = self.random.choice(sorted(self.seen))
        self.raw.put(key, self.random.choice(self.seen[key]))

    def _transplant(self):
        some = [k for k in self.seen if layout.is_reference(k) or k.startswith(layout.TAGS)]
        if some:
            data = self.random.choice(self.seen[self.random.choice(sorted(some))])
            self.raw.put(self._place(), data)

    def _place(self):
        """Return a key at which a reference may be looked for."""
        choose = self.random.choice
        if self.random.random() < 0.5:
            return layout.tag_move(choose(NAMES), choose(TAGS), self.random.randint(1, 9))
        keys = [k for k in self._references() if layout.is_reference(k)]
        if keys and self.random.random() < 0.5:
            return choose(keys)
        self.used += 1
        stamp = f"2026-11-22t23-38-15-{self.used:06d}-00-00"
        return f"{choose(NAMES).replace('/', '-')}/{stamp}"

    def _forge(self):
        keys = self._references()
        if not keys:
            return
        form = json.loads(self.raw.get(self.random.choice(keys)))
        other = json.loads(self.raw.get(self.random.choice(keys)))
        for name in ("flow", "digest", "size", "media_type", "attachments", "version", "created"):
            if self.random.random() < 0.25 and name in other:
                form[name] = other[name]
        if self.random.random() < 0.2:
            form["environment"] = {"script": "evil.py", "module": ""}
        if self.random.random() < 0.1:
            form["media_type"] = "text/x-python"
        self._write(self._place(), form)

    def _forge_move(self):
        keys = self._references()
        if not keys:
            return
        name, tag = self.random.choice(NAMES), self.random.choice(TAGS)
        form = json.loads(self.raw.get(self.random.choice(keys)))
        counter = self.random.randint(1, 9)
        form |= {"tag": tag, "counter": counter, "by": "anna", "flow": name}
        form.setdefault("before", None)
        form.setdefault("at", form["created"])
        self._write(layout.tag_move(name, tag, counter), form)

    def _write(self, key, form):
        self.raw.put(key, json.dumps(form).encode())

    def _forge_signature(self):
        keys = self._keys(layout.SIGNATURES)
        references = self._references()
        if not keys or not references:
            return
        target = Reference.from_bytes(
            self.raw.get(self.random.choice(references)), where="the attacker"
        )
        data = self.raw.get(self.random.choice(keys))
        kind = self.random.randrange(3)
        if kind == 0:  # the words of one, the signature of another
            line, _, armour = data.partition(b"\n")
            line = re.sub(rb'"digest": "[^"]*"', f'"digest": "{target.digest}"'.encode(), line)
            line = re.sub(rb'"name": "[^"]*"', f'"name": "{target.flow}"'.encode(), line)
            data = line + b"\n" + armour
        elif kind == 1:  # everything right, but for whose key it is
            statement = Statement.of(target).now()
            data = SigningKey(str(self.keys[EVIL])).signed(statement).to_bytes()
        self.raw.put(
            layout.signature(target.digest, target.blob.incarnation, digest_of(data)), data
        )

    def _remember(self):
        for key in self._keys():
            self.seen.setdefault(key, [])
            if (data := self.raw.get(key)) not in self.seen[key]:
                self.seen[key].append(data)

    # ---- what must hold ----------------------------------------------------------------------

    def _look(self):
        for name in NAMES:
            for ref in (name, f"{name}@1", f"{name}@2", *(f"{name}@{each}" for each in TAGS)):
                found = self._resolved(ref)
                if found is None:
                    continue
                if facts(found.reference) not in self.signed[name]:
                    raise BrokenError(f"{ref} means {facts(found.reference)}, which nobody signed")
                if ref.rpartition("@")[2] in TAGS:
                    self._check_tag(name, ref.rpartition("@")[2], found)
                self._read(found)

    def _resolved(self, ref):
        try:
            return self.store.resolve(ref)
        except CasflowError:
            return None

    def _read(self, found):
        try:
            data = self.store.read_file(found, "main.py")
        except CasflowError:
            return
        if data not in (b"one", b"two", b"three"):
            raise BrokenError(f"{found} holds {data!r}")

    def _check_tag(self, name, tag, found):
        last = self.last.get((name, tag), 0)
        fitting = [c for c, digest in self.moves.get((name, tag), ()) if digest == found.digest]
        newer = [counter for counter in fitting if counter >= last]
        if not newer:
            raise BrokenError(f"{name}@{tag} went back to {found.digest} after move {last}")
        self.last[name, tag] = min(newer)


def facts(reference):
    """Return all of a reference on which depends what is run."""
    start = reference.environment.get("script", "")
    return reference.flow, reference.digest, reference.media_type, start
