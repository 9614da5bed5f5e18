"""Runs and agents against a model of a few dictionaries, in any order of acts."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from casflow.digests import digest_of
from casflow.errors import ConflictError
from casflow.registry import MAX_LOSSES, Agent, Registry, Run, RunState
from tests.examples import examples
from tests.registry.processes import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

LABELS = st.frozensets(st.sampled_from(["a", "b", "c"]), max_size=2)
SILENCE = timedelta(seconds=30)


@dataclass
class Model:
    """What should be known of one run."""

    labels: frozenset[str]
    state: RunState = RunState.SCHEDULED
    attempt: int = 0
    losses: int = 0
    holder: int | None = None
    beat: float = 0


class RunsMachine(RuleBasedStateMachine):
    """Every act is done to the registry and to the model; both have to agree after each."""

    held = Bundle("held")

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="casflow-runs-"))
        self.clock, self.time = Clock(), 0.0
        self.registry = Registry(f"sqlite:///{self.folder}/registry.db", now=self.clock)
        self.version = self.registry.add_version(
            project=None,
            flow="etl",
            digest=digest_of(b""),
            storage={},
            reference=None,
            labels=[],
            location="",
        )
        self.model: dict[int, Model] = {}
        self.agents: list[Agent] = []

    def teardown(self) -> None:
        self.registry.close()
        shutil.rmtree(self.folder)

    @rule(labels=LABELS)
    def add_agent(self, labels: frozenset[str]) -> None:
        number = len(self.agents)
        self.agents.append(
            self.registry.add_agent(name=f"{number}", host="h", pid=number, labels=labels)
        )

    @rule(labels=LABELS)
    def create_run(self, labels: frozenset[str]) -> None:
        run = self.registry.create_run(self.version, labels=sorted(labels))
        self.model[run.id] = Model(labels)
        self.tick(0.001)

    @rule(seconds=st.sampled_from([1, 10, 31]))
    def tick(self, seconds: float) -> None:
        self.clock.tick(seconds)
        self.time += seconds

    @precondition(lambda self: self.agents)
    @rule(target=held, data=st.data(), limit=st.integers(1, 3))
    def claim(self, data: st.DataObject, limit: int) -> object:
        agent = data.draw(st.sampled_from(self.agents))
        taken = self.registry.claim(agent, limit=limit)
        waiting = [
            number
            for number, model in self.model.items()
            if model.state == RunState.SCHEDULED and model.labels <= set(agent.labels)
        ]
        assert [run.id for run in taken] == waiting[:limit]
        for run in taken:
            model = self.model[run.id]
            model.state, model.holder = RunState.RUNNING, agent.id
            model.attempt, model.beat = model.attempt + 1, self.time
        return multiple(*taken)

    @precondition(lambda self: self.agents)
    @rule(data=st.data())
    def heartbeat(self, data: st.DataObject) -> None:
        agent = data.draw(st.sampled_from(self.agents))
        mine = {
            number: model
            for number, model in self.model.items()
            if model.state == RunState.RUNNING and model.holder == agent.id
        }
        said = self.registry.heartbeat(agent)
        assert said == {number: model.attempt for number, model in mine.items()}
        for model in mine.values():
            model.beat = self.time

    @rule(run=held, state=st.sampled_from([RunState.SUCCESS, RunState.FAILED]))
    def finish(self, run: Run, state: RunState) -> None:
        self._as_holder(run, lambda: self.registry.finish(run, state), state)

    @rule(run=held)
    def release(self, run: Run) -> None:
        self._as_holder(run, lambda: self.registry.release(run), RunState.SCHEDULED)

    def _as_holder(self, run: Run, act: Callable[[], Run], state: RunState) -> None:
        model = self.model[run.id]
        if model.state == RunState.RUNNING and model.attempt == run.attempt:
            act()
            model.state = state
        else:
            with pytest.raises(ConflictError):
                act()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.model)))
        run = self.registry.get_run(number)
        if self.model[number].state.is_final:
            with pytest.raises(ConflictError):
                self.registry.cancel(run)
        else:
            self.registry.cancel(run)
            self.model[number].state = RunState.CANCELLED

    @rule()
    def recover(self) -> None:
        lost = {
            number: model
            for number, model in self.model.items()
            if model.state == RunState.RUNNING and self.time - model.beat > 30
        }
        assert {run.id for run in self.registry.recover(SILENCE)} == set(lost)
        for model in lost.values():
            model.losses += 1
            final = model.losses == MAX_LOSSES
            model.state = RunState.FAILED if final else RunState.SCHEDULED

    @invariant()
    def registry_agrees(self) -> None:
        said = {
            run.id: (run.state, run.attempt, run.losses) for run in self.registry.runs(limit=None)
        }
        assert said == {
            number: (model.state, model.attempt, model.losses)
            for number, model in self.model.items()
        }


TestRuns = RunsMachine.TestCase
TestRuns.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
