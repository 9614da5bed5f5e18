"""Many processes, one cache."""

from __future__ import annotations

import subprocess
import sys
import time

from casflow.cache import Cache
from casflow.digests import digest_of

ASKING = """\
import sys, time
from pathlib import Path
from casflow.cache import Cache

root, digest, log, locks = sys.argv[1:]
if locks == "no":
    import fcntl

    def refuse(*_):
        raise OSError(37, "no locks available")

    fcntl.flock = refuse
data = b"x" * 100_000

def download(target):
    with open(log, "a") as file:
        file.write("downloaded\\n")
    time.sleep(0.3)
    target.write(data)

got = Cache(Path(root), 10**9).fetch(digest, len(data), download)
print(bytes(got.data) == data, got.downloaded)
"""


def ask(tmp_path, count, locks="yes"):
    digest = digest_of(b"x" * 100_000)
    paths = [tmp_path / "cache", digest, tmp_path / "log", locks]
    command = [sys.executable, "-c", ASKING, *map(str, paths)]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    return [(*process.communicate(timeout=120), process.returncode) for process in started]


def test_thirty_two_processes_ask_for_one_cold_digest(tmp_path):
    answers = ask(tmp_path, 32)
    assert [code for _, _, code in answers] == [0] * 32, answers
    assert sorted(out for out, _, _ in answers) == ["True 0\n"] * 31 + ["True 100000\n"]
    assert (tmp_path / "log").read_text() == "downloaded\n"


def test_without_working_locks_all_answers_are_right(tmp_path):
    answers = ask(tmp_path, 4, "no")
    assert [code for _, _, code in answers] == [0] * 4, answers
    assert all(out.startswith("True") for out, _, _ in answers)
    assert Cache(tmp_path / "cache", 10**9).verify() == []


def test_a_writer_that_is_killed_makes_nobody_wait(tmp_path):
    slow, digest = ASKING.replace("0.3", "60"), digest_of(b"x" * 100_000)
    paths = [str(tmp_path / "cache"), digest, str(tmp_path / "first")]
    held = subprocess.Popen([sys.executable, "-c", slow, *paths, "yes"])
    deadline = time.monotonic() + 60
    while not (tmp_path / "first").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    held.kill()
    held.wait()
    ((out, _, code),) = ask(tmp_path, 1)
    assert (out, code) == ("True 100000\n", 0)


READING = """\
import sys
from pathlib import Path
from casflow.cache import Cache
cache = Cache(Path(sys.argv[1]), 10**9)
print("ready", flush=True)
while True:
    list(cache.index.aliases())
"""


def test_the_index_s_journal_stays_short_while_others_read(tmp_path):
    cache = Cache(tmp_path / "cache", 300_000)
    for number in range(100):
        cache.set_alias(f"{number}", "x" * 100)
    command = [sys.executable, "-c", READING, str(cache.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reading:
        reading.stdout.readline()
        longest = 0
        for number in range(400):
            cache.set_alias(f"{number}", "y" * 100)
            sizes = {each.name: each.stat().st_size for each in (cache.root / "index").iterdir()}
            longest = max(longest, sum(sizes.values()) - sizes["cache.db"])
        reading.kill()
    assert cache.find_alias("399") == "y" * 100
    assert longest < 100_000
