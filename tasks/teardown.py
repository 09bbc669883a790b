"""Taking the test endpoint down, unless another run of the same training still uses it."""

from prefect import task

from tasks.artifacts import run_logger, terminal_progress, without_dots
from tasks.claims import Claim, other_holders, withdraw
from tasks.clients import REMOTE, workspace_client
from tasks.endpoint import delete_endpoint, find_endpoint
from tasks.ownership import KEEP


@task(
    name="delete the endpoint",
    task_run_name="delete endpoint {claim.endpoint}",
    **REMOTE,
)
def tear_down(claim: Claim) -> tuple[bool, list[str]]:
    """Delete the claim's endpoint, if there is one, and wait until it is gone.

    Returns whether it was deleted, and the other living runs of the same training: while there
    are any, it is left to them. Raises DeadlineExceeded.
    """
    name, logger = claim.endpoint, run_logger()
    if name is None:
        return False, []
    withdraw(claim)
    if others := other_holders(claim.run_key, claim.flow_run_id):
        logger.info("Endpoint %s is left to %s, with the same training.", name, ", ".join(others))
        return False, others
    client = workspace_client(claim.workspace)
    endpoint = find_endpoint(client, name)
    if endpoint is not None and (endpoint.tags or {}).get(KEEP) == "true":
        logger.info("Endpoint %s stays: an earlier run was asked to keep it.", name)
        return False, []
    with terminal_progress(f"Deleting {name}", key="deletion-progress"), without_dots():
        deleted = delete_endpoint(client, name, claim.minutes)
    logger.info("Endpoint %s %s.", name, "is deleted" if deleted else "was not there")
    return deleted, []
