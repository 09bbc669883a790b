"""What the contract tests talk to, and nothing of it is known to them.

Without more it is a local Azure ML that is started for them. With `--azure`, or VERIFY_AZURE=1
in the environment, it is the workspace that AZUREML_SUBSCRIPTION_ID, AZUREML_RESOURCE_GROUP and
AZUREML_WORKSPACE_NAME name: what will be created there is told first, and removed afterwards.
"""

import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.contract.created import Created
from tests.contract.local import Watch, local_target
from tests.contract.plan import CLUSTER_SIZE, IMAGE, confirmed, plan
from tests.contract.service import Service
from tests.contract.sweep import sweep
from tests.contract.target import Target, real_target

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

# The tests' topmost conftest empties the environment of all that is Azure's, later than this.
_ENVIRONMENT = dict(os.environ)
_WATCH = pytest.StashKey[Watch]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("contract tests")
    group.addoption(
        "--azure",
        action="store_true",
        help="verify against the environment's workspace",
    )
    group.addoption("--yes", action="store_true", help="create what the plan says, unasked")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "operation(*names, cost=None): the operations of Azure ML that a test covers, and what "
        "it costs to run it on the real service (a key of tests.contract.plan.COSTS)",
    )
    config.addinivalue_line(
        "markers", "expensive: on the real service it keeps a machine busy that costs by the hour"
    )
    # A run that is told to end removes what it created, as one that is interrupted does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _is_real(config: pytest.Config) -> bool:
    asked = config.getoption("--azure", default=False)
    return bool(asked) or _ENVIRONMENT.get("VERIFY_AZURE", "") not in ("", "0")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Before anything is created on the real service: say what, and ask."""
    config = session.config
    if not _is_real(config) or config.getoption("collectonly") or not session.items:
        return
    target = real_target(_ENVIRONMENT)
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture:
        capture.suspend_global_capture(in_=True)
    try:
        print("\n" + plan(session.items, target), flush=True)
        if not (config.getoption("--yes", default=False) or confirmed(sys.stdin)):
            pytest.exit("Nothing was created.", returncode=1)
    finally:
        if capture:
            capture.resume_global_capture()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test that passes has made every operation succeed that it says it covers."""
    yield
    watch = item.config.stash.get(_WATCH, None)
    names = [name for marker in item.iter_markers("operation") for name in marker.args]
    if watch and names and (missing := watch.missing(names)):
        pytest.fail(f"It says that it covers {', '.join(missing)}.", pytrace=False)


@pytest.fixture(scope="session")
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    """The workspace in use; the environment that leads clients to it is set meanwhile."""
    previous = dict(os.environ)
    try:
        if _is_real(request.config):
            target = real_target(_ENVIRONMENT)
            os.environ.update(target.environment)
            yield target
        else:
            with local_target(tmp_path_factory.mktemp("contract")) as (target, watch):
                request.config.stash[_WATCH] = watch
                os.environ.update(target.environment)
                yield target
    finally:
        os.environ.clear()
        os.environ.update(previous)


@pytest.fixture(scope="session")
def service(target: Target) -> Service:
    """Plain authenticated HTTP, for what the SDK hides."""
    return Service(target)


@pytest.fixture(scope="session")
def client(target: Target) -> "MLClient":
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(
        DefaultAzureCredential(),
        target.subscription,
        target.resource_group,
        target.workspace,
        enable_telemetry=False,
    )


@pytest.fixture(scope="session", autouse=True)
def created(service: Service) -> Iterator[Created]:
    """Names for what the tests create. All that has such a name is removed at the end."""
    created = Created()
    try:
        with created.watching(service.target.path):
            yield created
    finally:
        left = sweep(service, created)
        if left:
            pytest.fail("Not removed:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture(scope="session")
def cluster(client: "MLClient", created: Created) -> str:
    """The name of a cluster of 0 to 1 node."""
    from azure.ai.ml.entities import AmlCompute

    cluster = AmlCompute(
        name=created.name("cpu"),
        size=CLUSTER_SIZE,
        tier="low_priority",
        min_instances=0,
        max_instances=1,
        idle_time_before_scale_down=120,
        tags=created.tags,
    )
    return str(client.compute.begin_create_or_update(cluster).result().name)


@pytest.fixture(scope="session")
def environment(client: "MLClient", created: Created) -> str:
    """An environment with Python, as a job names it."""
    from azure.ai.ml.entities import Environment

    made = client.environments.create_or_update(
        Environment(name=created.name("env"), version="1", image=IMAGE, tags=created.tags)
    )
    return f"azureml:{made.name}:{made.version}"
