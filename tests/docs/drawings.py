"""The drawings of the documentation: `uv run python -m tests.docs.drawings` writes them.

Owns the pictures of `docs/drawings`, each once for a light and once for a dark page. Invariant: a
drawing is 480 units wide and its letters are 15 high, so it can be read on a telephone; its text is
text, and its title says what it shows to whoever cannot see it.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "drawings"
WIDTH = 480

_LINE_HEIGHT = 19
_FONT = "font-family='ui-sans-serif, system-ui, Helvetica, Arial, sans-serif'"
_MONO = "font-family='ui-monospace, SFMono-Regular, Menlo, Consolas, monospace'"

_PALETTES = {
    "light": {
        "ink": "#1f2430",
        "muted": "#5b6270",
        "line": "#7a8190",
        "plain": "#f3f4f7",
        "store": "#dde8fb",
        "cache": "#d9f2e3",
        "registry": "#ece3fa",
        "warn": "#fdeccb",
        "gone": "#fbdcd9",
    },
    "dark": {
        "ink": "#e8eaf0",
        "muted": "#a9b0be",
        "line": "#8d95a5",
        "plain": "#2b2f3a",
        "store": "#243b63",
        "cache": "#1f4a36",
        "registry": "#41305f",
        "warn": "#594312",
        "gone": "#5c2a2a",
    },
}

Point = tuple[float, float]


class Drawing:
    """One picture, drawn in the colours of one palette."""

    def __init__(self, palette: str) -> None:
        self._colours = _PALETTES[palette]
        self._parts: list[str] = []

    def box(
        self, x: float, y: float, width: float, height: float, *lines: str, kind: str = "plain"
    ) -> None:
        """Draw a box; its first line is a name, further ones are smaller."""
        fill, line = self._colours[kind], self._colours["line"]
        self._parts.append(
            f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='7' "
            f"fill='{fill}' stroke='{line}'/>"
        )
        top = y + height / 2 - (len(lines) - 1) * _LINE_HEIGHT / 2 + 5
        for number, each in enumerate(lines):
            at = top + number * _LINE_HEIGHT
            size = 15 if number == 0 else 13
            self.text(x + width / 2, at, each, size=size, muted=number > 0, anchor="middle")

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: int = 13,
        muted: bool = False,
        mono: bool = False,
        anchor: str = "start",
        bold: bool = False,
        upright: bool = False,
    ) -> None:
        """Write one line, at its base line; an upright one reads from below."""
        colour = self._colours["muted" if muted else "ink"]
        weight = " font-weight='600'" if bold else ""
        turn = f" transform='rotate(-90 {x} {y})'" if upright else ""
        self._parts.append(
            f"<text x='{x}' y='{y}' font-size='{size}' fill='{colour}' text-anchor='{anchor}'"
            f"{weight}{turn} {_MONO if mono else _FONT}>{escape(text)}</text>"
        )

    def arrow(self, *points: Point, dashed: bool = False) -> None:
        """Draw a line through points with a head at the last one."""
        path = "M" + " L".join(f"{x} {y}" for x, y in points)
        dash = " stroke-dasharray='5 4'" if dashed else ""
        self._parts.append(
            f"<path d='{path}' fill='none' stroke='{self._colours['line']}' "
            f"stroke-width='1.6' marker-end='url(#head)'{dash}/>"
        )

    def line(self, start: Point, end: Point) -> None:
        """Draw a thin line without a head."""
        self._parts.append(
            f"<path d='M{start[0]} {start[1]} L{end[0]} {end[1]}' "
            f"stroke='{self._colours['line']}' stroke-width='1'/>"
        )

    def svg(self, title: str, height: float) -> str:
        """Return the whole drawing."""
        head = (
            "<marker id='head' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='8' "
            "markerHeight='8' orient='auto-start-reverse'>"
            f"<path d='M0 0 L8 4 L0 8 z' fill='{self._colours['line']}'/></marker>"
        )
        body = "\n".join(self._parts)
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' "
            f"width='{WIDTH}' height='{height}' role='img'>\n<title>{escape(title)}</title>\n"
            f"<defs>{head}</defs>\n{body}\n</svg>\n"
        )


def roads(d: Drawing) -> tuple[str, float]:
    d.text(110, 20, "register", size=15, bold=True, anchor="middle")
    d.text(370, 20, "run", size=15, bold=True, anchor="middle")
    for y, name, detail in ((34, "flow", "objects, script, folder"), (114, "bytes", "canonical")):
        d.box(20, y, 180, 52, name, detail)
        d.arrow((110, y + 52), (110, y + 78))
    d.box(20, 194, 180, 52, "digest", "BLAKE3 of the bytes")
    d.arrow((110, 246), (110, 292))
    d.text(118, 274, "only if new", muted=True)
    d.box(20, 294, 180, 72, "store", "blob by digest,", "then a reference", kind="store")
    d.box(280, 294, 180, 72, "cache", "the same blobs", "on this machine", kind="cache")
    d.arrow((200, 330), (278, 330))
    d.text(239, 320, "on a miss", muted=True, anchor="middle")
    d.arrow((370, 294), (370, 248))
    d.text(378, 276, "on a hit", muted=True)
    d.box(280, 194, 180, 52, "verify", "at every read")
    d.arrow((370, 194), (370, 168))
    d.box(280, 114, 180, 52, "load", "only what was checked")
    d.arrow((370, 114), (370, 88))
    d.box(280, 34, 180, 52, "run", "in a process of its own")
    d.box(20, 416, 440, 52, "registry", "flow, version, digest; never code", kind="registry")
    d.arrow((110, 366), (110, 414))
    d.text(118, 395, "names the reference", muted=True)
    d.arrow((370, 416), (370, 368))
    d.text(378, 395, "digest", muted=True)
    return "A flow is registered down to store and registry, and runs up from the cache.", 480


def keys(d: Drawing) -> tuple[str, float]:
    rows = (
        ("<slug>/<timestamp>", "reference: names one digest", "registry"),
        (".casflow/blobs/<dd>/<digest>-<g>", "the bytes, written once", "store"),
        (".casflow/pins/<name>", "keeps a version for ever", "registry"),
        (".casflow/tags/<name>/<tag>/<n>", "move n of a tag", "registry"),
        (".casflow/leases/<digest>/<host>/<day>", "used on that day", "registry"),
        (".casflow/gc/condemned/<digest>-<g>", "marker: to be deleted", "warn"),
        (".casflow/trash/<slug>/<timestamp>", "expired, not gone yet", "warn"),
    )
    for number, (key, meaning, kind) in enumerate(rows):
        y = 10 + number * 62
        d.box(60, y, 400, 50, "", kind=kind)
        d.text(72, y + 21, key, mono=True, size=14)
        d.text(72, y + 40, meaning, muted=True)
    for row in (0, 2, 3, 4, 6):
        y = 35 + row * 62
        d.line((30, y), (58, y))
    d.line((30, 35), (30, 35 + 6 * 62))
    d.arrow((30, 97), (58, 97))
    d.text(18, 300, "name a blob", muted=True, upright=True)
    return "The keys of a store: references, pins, tags and leases name blobs.", 446


def incarnations(d: Drawing) -> tuple[str, float]:
    d.text(100, 20, "blob <digest>-0", mono=True, anchor="middle", size=14)
    d.text(375, 20, "blob <digest>-1", mono=True, anchor="middle", size=14)
    steps = (
        (34, "written", "a flow is registered", "store"),
        (124, "named by nothing", "its reference expired", "plain"),
        (214, "condemned", "the marker has a time", "warn"),
        (394, "deleted", "for good: the name ends", "gone"),
    )
    for y, name, detail, kind in steps:
        d.box(10, y, 180, 56, name, detail, kind=kind)
    d.arrow((100, 90), (100, 122))
    d.arrow((100, 180), (100, 212))
    d.text(108, 200, "casflow gc", muted=True, mono=True)
    d.arrow((100, 270), (100, 392))
    d.text(108, 346, "24 hours, still", muted=True)
    d.text(108, 364, "named by nothing", muted=True)
    d.box(285, 274, 180, 56, "written", "the flow comes back", kind="store")
    d.arrow((190, 242), (375, 242), (375, 272))
    d.text(200, 232, "registered again meanwhile", muted=True)
    d.box(285, 394, 180, 56, "stays", "its reference names -1", kind="cache")
    d.arrow((375, 330), (375, 392))
    d.text(240, 484, "Whoever sees the marker writes the next number,", muted=True, anchor="middle")
    d.text(240, 503, "so the deletion that is on its way hits nobody.", muted=True, anchor="middle")
    return "A condemned blob is never used again; registering writes the next incarnation.", 516


def tree(d: Drawing) -> tuple[str, float]:
    d.box(20, 10, 200, 52, "etl@1", "reference", kind="registry")
    d.box(260, 10, 200, 52, "etl@2", "reference, tag prod", kind="registry")
    for x in (20, 260):
        d.arrow((x + 100, 62), (x + 100, 96))
        d.box(x, 98, 200, 52, "listing", "path, mode, digest", kind="store")
    names = ("__main__.py", "steps/load.py", "data/rates.csv")
    for number, each in enumerate(names):
        y = 176 + number * 24
        d.text(30, y, each, mono=True)
        changed = each == "steps/load.py"
        d.text(270, y, each + ("  changed" if changed else ""), mono=True, bold=changed)
    d.box(20, 286, 200, 72, "pack", "contents of version 1,", "at most 16 MiB", kind="store")
    d.box(260, 286, 200, 72, "pack", "only load.py:", "what is new", kind="store")
    d.arrow((120, 236), (120, 284))
    d.arrow((360, 236), (360, 284))
    d.arrow((300, 236), (222, 296))
    d.box(20, 404, 440, 56, "one folder in the cache", "read-only, checked by stat", kind="cache")
    d.arrow((120, 358), (120, 402))
    d.arrow((360, 358), (360, 402))
    return "Two versions of a tree share the pack that holds what did not change.", 472


def digest(d: Drawing) -> tuple[str, float]:
    for x, name in ((20, "process 1"), (260, "process 2")):
        d.box(x, 10, 200, 52, "the same flow", name)
        d.arrow((x + 100, 62), (x + 100, 104))
        d.box(x, 106, 200, 52, "pickle", "other bytes each time", kind="gone")
        d.arrow((x + 100, 158), (x + 100, 194))
    d.text(128, 88, "pickled", muted=True)
    d.box(20, 196, 440, 168, "", kind="plain")
    d.text(240, 220, "taken out or put in order", size=15, anchor="middle")
    lines = (
        "order of sets, by the hash seed",
        "paths, file names and line numbers",
        "order of imports, byte-code caches",
        "identity of equal strings and constants",
        "addresses and ids that libraries keep",
        "names that depend on how a script is run",
    )
    for number, each in enumerate(lines):
        d.text(240, 244 + number * 20, each, muted=True, anchor="middle")
    d.arrow((240, 364), (240, 398))
    d.box(110, 400, 260, 56, "one canonical pickle", "one digest", kind="cache")
    note = "File names and lines go to an attachment, for tracebacks."
    d.text(240, 480, note, muted=True, anchor="middle")
    return "Two processes pickle one flow to different bytes; normalised, they are the same.", 492


def fleet(d: Drawing) -> tuple[str, float]:
    d.box(20, 10, 200, 52, "CI", "casflow register")
    d.box(260, 10, 200, 52, "people", "runs create, top, gc")
    d.box(20, 132, 200, 62, "store", "S3, GCS, Azure, folder", kind="store")
    d.box(260, 132, 200, 62, "registry", "SQLite or PostgreSQL", kind="registry")
    d.arrow((80, 62), (80, 130))
    d.text(88, 102, "blobs", muted=True)
    d.arrow((160, 62), (300, 130))
    d.arrow((360, 62), (360, 130))
    for number in range(3):
        x = 20 + number * 150
        d.box(x, 292, 140, 52, "agent", f"machine {number + 1}")
        d.box(x, 360, 140, 44, "cache", kind="cache")
        d.arrow((360, 194), (360, 240), (x + 90, 240), (x + 90, 290))
        d.arrow((x + 70, 344), (x + 70, 358))
    d.arrow((80, 194), (80, 270), (12, 270), (12, 424), (90, 424), (90, 406), dashed=True)
    d.text(368, 222, "runs, digests", muted=True)
    d.text(20, 262, "blobs", muted=True)
    d.text(104, 430, "once a machine and digest", muted=True)
    return "CI writes to store and registry; agents take runs and read through their caches.", 446


def gc(d: Drawing) -> tuple[str, float]:
    d.text(110, 20, "references", size=15, bold=True, anchor="middle")
    d.text(370, 20, "blobs", size=15, bold=True, anchor="middle")
    d.box(20, 34, 180, 56, "in use", "newest, pinned, tagged", kind="cache")
    d.box(280, 34, 180, 56, "named", "by anything at the left", kind="cache")
    d.arrow((200, 62), (278, 62), dashed=True)
    d.text(239, 54, "names", muted=True, anchor="middle")
    d.arrow((110, 90), (110, 162))
    d.text(118, 122, "no option of", muted=True)
    d.text(118, 140, "yours keeps it", muted=True)
    d.box(20, 164, 180, 56, "trash", "casflow undelete", kind="warn")
    d.arrow((200, 192), (240, 192), (240, 76), (278, 76), dashed=True)
    d.arrow((110, 220), (110, 292))
    d.text(118, 262, "7 days", muted=True)
    d.box(20, 294, 180, 56, "gone", kind="gone")
    d.arrow((370, 90), (370, 162))
    d.text(378, 122, "nothing", muted=True)
    d.text(378, 140, "names it", muted=True)
    d.box(280, 164, 180, 56, "condemned", "a marker with its time", kind="warn")
    d.arrow((370, 220), (370, 292))
    d.text(378, 252, "24 hours,", muted=True)
    d.text(378, 270, "a later run", muted=True)
    d.box(280, 294, 180, 56, "deleted", kind="gone")
    return "References go to the trash and then away; blobs are condemned and then deleted.", 362


DRAWINGS = (
    roads,
    keys,
    incarnations,
    tree,
    digest,
    fleet,
    gc,
)


def files() -> dict[str, str]:
    """Return what `docs/drawings` holds: the text of each file by its name."""
    found = {}
    for draw in DRAWINGS:
        for palette in _PALETTES:
            drawing = Drawing(palette)
            found[f"{draw.__name__}-{palette}.svg"] = drawing.svg(*draw(drawing))
    return found


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
