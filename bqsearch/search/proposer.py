"""Proposers: a sampler as a strategy asks it, by the numbers of its trials."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from bqsearch.measure import Direction

Rungs = dict[str, int]  # by layer


class Proposer(Protocol):
    """What comes next, from what has come of those before."""

    def restore(self, ended: Sequence[FrozenTrial], open_: Sequence[FrozenTrial]) -> None:
        """Go on with trials of an earlier session: the first ones, and those behind them that are not told of yet."""
        ...

    def propose(self, number: int, wanted: Rungs | None) -> Rungs:
        """The trial of this number; what is wanted, if something is."""
        ...

    def noted(self, number: int) -> Mapping[str, Any]:
        """What a proposed trial is to be stored with, so that `restore` can go on."""
        ...

    def end(self, number: int, trial: FrozenTrial) -> None:
        """What came of a proposed trial; they are told of in order."""
        ...

    def learn(self, trial: FrozenTrial) -> None:
        """What came of somebody else's."""
        ...


class Independent(ABC):
    """A sampler whose draws follow from a trial's number and from the trials that it has learned of, and which needs
    no study for that."""

    @abstractmethod
    def draw(self, number: int) -> Rungs:
        """The trial of this number; none that was noted, if there is another."""

    @abstractmethod
    def note(self, rungs: Rungs) -> None:
        """One that is proposed."""

    @abstractmethod
    def learn(self, trial: FrozenTrial) -> None:
        """One that has ended."""


def proposer(
    sampler: BaseSampler, directions: Sequence[Direction], distributions: dict[str, BaseDistribution]
) -> Proposer:
    """Of a sampler.

    Args:
        sampler: Optuna's kind.
        directions: `"maximize"` or `"minimize"` for each objective.
        distributions: Of each layer's rungs.
    """
    return Alone(sampler) if isinstance(sampler, Independent) else InStudy(sampler, directions, distributions)


class Alone:
    """A sampler that needs no study."""

    def __init__(self, sampler: Independent) -> None:
        self._sampler = sampler

    def restore(self, ended: Sequence[FrozenTrial], open_: Sequence[FrozenTrial]) -> None:
        """See `Proposer`."""
        for trial in open_:
            self._sampler.note(trial.params)
        for trial in ended:
            self._sampler.learn(trial)

    def propose(self, number: int, wanted: Rungs | None) -> Rungs:
        """See `Proposer`."""
        rungs = self._sampler.draw(number) if wanted is None else wanted
        self._sampler.note(rungs)
        return rungs

    def noted(self, number: int) -> Mapping[str, Any]:
        """See `Proposer`."""
        del number
        return {}

    def end(self, number: int, trial: FrozenTrial) -> None:
        """See `Proposer`."""
        del number
        self._sampler.learn(trial)

    def learn(self, trial: FrozenTrial) -> None:
        """See `Proposer`."""
        self._sampler.learn(trial)


class InStudy:
    """Any sampler of Optuna's, over a study in memory. Arguments as of `proposer`."""

    def __init__(
        self, sampler: BaseSampler, directions: Sequence[Direction], distributions: dict[str, BaseDistribution]
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(directions=list(directions), sampler=sampler)
        self._distributions, self._open = distributions, dict[int, Trial]()

    def restore(self, ended: Sequence[FrozenTrial], open_: Sequence[FrozenTrial]) -> None:
        """See `Proposer`."""
        self._study.add_trials(ended)
        for number, trial in enumerate(open_, start=len(ended)):
            self._study.add_trial(_waiting(trial))
            self._open[number] = self._study.ask(self._distributions)

    def propose(self, number: int, wanted: Rungs | None) -> Rungs:
        """See `Proposer`."""
        if wanted is not None:
            self._study.enqueue_trial(wanted)
        self._open[number] = self._study.ask(self._distributions)
        return self._open[number].params

    def noted(self, number: int) -> Mapping[str, Any]:
        """See `Proposer`."""
        return self._study.get_trials(deepcopy=False)[self._open[number].number].system_attrs

    def end(self, number: int, trial: FrozenTrial) -> None:
        """See `Proposer`."""
        asked = self._open.pop(number)
        for name, excess in trial.constraints.items():
            asked.set_constraint(name, excess)
        asked.set_user_attr("record", trial.user_attrs["record"])
        if trial.values is None:
            self._study.tell(asked, state=TrialState.PRUNED)
        else:
            self._study.tell(asked, trial.values)

    def learn(self, trial: FrozenTrial) -> None:
        """See `Proposer`."""
        self._study.add_trial(trial)


def _waiting(trial: FrozenTrial) -> FrozenTrial:
    """A trial that is to be proposed once more, with what its sampler noted, which may have been from fewer trials."""
    noted = {key: value for key, value in trial.system_attrs.items() if not key.startswith("constraints")}
    return create_trial(state=TrialState.WAITING, system_attrs={**noted, "fixed_params": trial.params})
