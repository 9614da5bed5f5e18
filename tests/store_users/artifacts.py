"""An artifact store of a training loop: bytes by digest, named checkpoints, on an event loop.

python artifacts.py STORE STEPS
"""

from __future__ import annotations

import asyncio
import sys

import casflow.aio


async def train(store: casflow.aio.Store, steps: int) -> bytes:
    """Put a checkpoint after each step; return the bytes of the first one again."""
    digests = []
    for step in range(steps):
        blob = await store.put(f"weights of step {step}".encode(), "model")
        digests.append(blob.digest)
    loose = await asyncio.gather(*(store.put(b"log", keep="7d") for _ in range(3)))
    assert len({blob.digest for blob in loose}) == 1
    assert [each.digest for each in await store.versions("model")] == digests[::-1]
    await store.pin("model@1", "first-weights")
    return await store.get(digests[0])


if __name__ == "__main__":
    print(asyncio.run(train(casflow.aio.Store(sys.argv[1]), int(sys.argv[2]))).decode())
