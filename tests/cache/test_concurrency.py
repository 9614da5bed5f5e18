"""Many processes, one cache."""

from __future__ import annotations

import subprocess
import sys

from casflow.cache import Cache
from casflow.digests import digest_of

ASKING = """\
import sys, time
from pathlib import Path
from casflow.cache import Cache

root, digest, log = sys.argv[1:]
data = b"x" * 100_000

def download(target):
    with open(log, "a") as file:
        file.write("downloaded\\n")
    time.sleep(0.3)
    target.write(data)

got = Cache(Path(root), 10**9).fetch(digest, len(data), download)
print(bytes(got.data) == data, got.downloaded)
"""


def ask(tmp_path, count):
    digest = digest_of(b"x" * 100_000)
    command = [sys.executable, "-c", ASKING, str(tmp_path / "cache"), digest, str(tmp_path / "log")]
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
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "locks").write_bytes(b"")  # no folder: no lock can be taken
    answers = ask(tmp_path, 4)
    assert [code for _, _, code in answers] == [0] * 4, answers
    assert all(out.startswith("True") for out, _, _ in answers)
    assert Cache(tmp_path / "cache", 10**9).verify() == []
