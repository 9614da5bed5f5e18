"""Flows of Prefect 1.4.1 that carry so many bytes."""

import random

from prefect import Flow, task


def payload_flow(size):
    payload = random.Random(size).randbytes(size)

    @task
    def give():
        return len(payload)

    with Flow(f"Payload {size}") as flow:
        give()
    return flow
