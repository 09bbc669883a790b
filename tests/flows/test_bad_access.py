"""A cloud that does not let a user in, or gives too little: one clear sentence each."""

import socket
import subprocess
import sys
import time

import pytest

from emulator.resource_manager.sizes import describe, find_size
from tests.emulator.running import ROOT
from tests.flows.bad_input_support import arguments_of, left_behind
from tests.flows.cloud_support import FAST, Cloud, secrets, with_proxy

FAMILY = "StandardNCADSA100v4Family"
ELSEWHERE = {"serving__size": "Standard_NC6s_v3"}
"""A deployment whose cores are of another family than the cluster's."""


def test_without_dedicated_cores_the_cluster_is_made_of_low_priority_nodes(cloud: Cloud) -> None:
    cloud.control.exhaust_quota(FAMILY)
    said = cloud.runs(compute__cluster="of-low-priority", **ELSEWHERE)
    assert said.code == 0
    assert "low-priority nodes, which Azure may take away" in " ".join(said.err.split())
    assert cloud.clusters()["of-low-priority"].tier == "low_priority"
    cloud.leaves_nothing(said)


def test_a_provider_that_is_not_registered_is_named(cloud: Cloud) -> None:
    with cloud.control.fault("Providers_Get", merge={"registrationState": "NotRegistered"}):
        said = cloud.runs()
    cloud.refuses(
        said,
        "bad input",
        "not registered the resource provider Microsoft.MachineLearningServices",
        "it is NotRegistered",
        "az provider register",
    )


def test_without_any_cores_the_plan_is_refused(cloud: Cloud) -> None:
    cloud.control.exhaust_quota(FAMILY)
    cloud.control.exhaust_quota("*Low Priority*")
    said = cloud.runs(compute__cluster="of-nothing", **ELSEWHERE)
    cloud.refuses(said, "quota", "quota of", FAMILY, "vCPUs are needed", "no way out", "Ask for")
    assert "compute" not in said.report["seconds"]
    assert "of-nothing" not in cloud.clusters()


def test_a_plan_that_may_cost_too_much_is_refused(cloud: Cloud) -> None:
    size = find_size("Standard_NC24ads_A100_v4")
    assert size is not None
    priced = describe(size)
    for price in priced["estimatedVMPrices"]["values"]:
        price["retailPrice"] = 4.0
    with cloud.control.fault("VirtualMachineSizes_List", merge={"value": [priced]}):
        said = cloud.runs(compute__cluster="too-dear", max_cost=100)
    cloud.refuses(said, "bad input", "may cost up to", "max_cost = 100 USD", "deadlines.run")
    assert "too-dear" not in cloud.clusters()


def test_a_cluster_that_is_refused_in_both_tiers_leaves_none(cloud: Cloud) -> None:
    reason = "Operation results in exceeding quota limits of the family."
    cloud.control.fail_next(
        "computes", times=2, code="ClusterCoreQuotaReached", message=reason, name="of-refusals"
    )
    said = cloud.runs(compute__cluster="of-refusals")
    cloud.refuses(
        said,
        "quota",
        "Neither dedicated nor low-priority",
        "of-refusals",
        reason,
        "Ask for more quota",
    )
    assert said.report["job"] is None
    assert "of-refusals" not in cloud.clusters()


def test_a_compute_instance_of_the_clusters_name_is_not_used(cloud: Cloud) -> None:
    from azure.ai.ml.entities import ComputeInstance

    instance = ComputeInstance(name="of-a-person", size="Standard_DS3_v2")
    cloud.client.compute.begin_create_or_update(instance).result()
    said = cloud.runs(compute__cluster="of-a-person")
    cloud.refuses(said, "bad input", "of-a-person", "not a compute cluster", "compute.cluster")
    assert said.report["plan"] is None


def test_a_registry_that_is_not_there_is_named(cloud: Cloud) -> None:
    from blocks.azureml import AzureMLWorkspace

    AzureMLWorkspace(registry_name="nowhere").save("elsewhere", overwrite=True, _sync=True)  # type: ignore[call-arg]
    said = cloud.runs("--workspace", "elsewhere")
    cloud.refuses(said, "bad input", "nowhere", "block 'elsewhere'")
    assert said.report["plan"] is None


REFUSED = [("OnlineEndpoints_CreateOrUpdate", 0, "endpoint ft-"), ("Jobs_Get", 2, "job ft-")]


@pytest.mark.parametrize(("operation", "after", "thing"), REFUSED, ids=[r[0] for r in REFUSED])
def test_a_token_that_is_refused_midway(
    cloud: Cloud, operation: str, after: int, thing: str
) -> None:
    with cloud.control.fault(operation, token="expired", times=None, after=after) as fault:
        said = cloud.training(10 + after)
        assert fault.refresh().fired
    until = time.monotonic() + 60
    while left_behind() and time.monotonic() < until:  # its job goes on, as the sentence says
        time.sleep(0.2)
    cloud.refuses(said, "permission", thing, "ExpiredAuthenticationToken", "credential")


def test_a_token_that_is_revoked_is_replaced(cloud: Cloud) -> None:
    with cloud.control.fault("ModelVersions_Get", token="revoked") as fault:
        said = cloud.runs()
        assert fault.refresh().fired == 1
    assert said.code == 0
    cloud.leaves_nothing(said)


def test_a_cloud_that_cannot_be_reached_is_given_up_soon(cloud: Cloud, prefect_server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # nobody listens there once it is closed
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "flows.finetune", *arguments_of(FAST)],
        env=with_proxy(port) | {"PREFECT_API_URL": prefect_server, "PYTHONPATH": str(ROOT)},
        cwd=cloud.user.home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert time.monotonic() - started < 60
    assert done.returncode == 1
    error = done.stderr[done.stderr.rindex("error: ") :].strip()
    assert error.count("\n") == 0
    for words in ("Signing in", "check the network", "[transient]"):
        assert words in error
    assert "Traceback" not in done.stdout + done.stderr
    assert not [secret for secret in secrets().values() if secret in done.stdout + done.stderr]
