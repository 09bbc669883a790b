"""The target that needs no account: a local Azure ML, started for the tests."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from emulator.control_client import Control
from tests.contract.published import published_name
from tests.contract.target import Target
from tests.emulator.running import StartedEmulator


class Watch:
    """What the local Azure ML did so far, and so whether what tests say they cover is true."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._last = 0
        self.done: set[str] = set()
        """The names of the operations that succeeded."""

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of the operations that did not succeed once."""
        for event in self._control.events(after=self._last):
            self._last = event.sequence
            if event.status is not None and event.status < 400:
                self.done |= {event.operation, published_name(event.method, event.path) or ""}
        return sorted(set(names) - self.done)


@contextmanager
def local_target(state: Path) -> Iterator[tuple[Target, Watch]]:
    """A local Azure ML with an empty workspace."""
    with StartedEmulator(state, "--exit-with-parent") as running:
        environment = running.environment
        yield (
            Target(
                environment["AZUREML_SUBSCRIPTION_ID"],
                environment["AZUREML_RESOURCE_GROUP"],
                environment["AZUREML_WORKSPACE_NAME"],
                environment=environment,
            ),
            Watch(Control.of(state)),
        )
