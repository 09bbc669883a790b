"""Error texts in the words of Azure ML, PyTorch, Docker and the kernel, and what they mean."""

import pytest

from tasks.errors import ErrorKind
from tasks.failures import advice_for, classify_job_failure

REASONS = [
    # preempted nodes, as reported for clusters of low priority
    (
        "AzureMLCompute job failed. PreemptionError: Nodes of this job got pre-empted. "
        "Reason: Received pre-emption warning signal",
        ErrorKind.TRANSIENT,
    ),
    ("AzureMLCompute job failed. Node was evicted.", ErrorKind.TRANSIENT),
    ("AzureMLCompute job failed. Lost node heartbeat.", ErrorKind.TRANSIENT),
    ("The node has been lost or is unusable.", ErrorKind.TRANSIENT),
    ("Failed to pull Docker image contoso.azurecr.io/acft:1", ErrorKind.TRANSIENT),
    ("Container cannot start: ImagePullBackOff", ErrorKind.TRANSIENT),
    ("data-capability: Failed to mount the input train_file", ErrorKind.TRANSIENT),
    # memory
    ("Execution failed: CUDA out of memory. Tried to allocate 20.00 MiB", ErrorKind.OUT_OF_MEMORY),
    ("torch.cuda.OutOfMemoryError in step fine-tune", ErrorKind.OUT_OF_MEMORY),
    ("Execution failed. User process exited with status code 137.", ErrorKind.OUT_OF_MEMORY),
    ("Container was OOMKilled", ErrorKind.OUT_OF_MEMORY),
    # identity
    (
        "The client 'x' with object id 'x' does not have authorization to perform action "
        "'Microsoft.MachineLearningServices/workspaces/datastores/read'",
        ErrorKind.PERMISSION,
    ),
    (
        "ScriptExecution.WriteStreams.Authentication: Authentication failed when trying to "
        "access destination.",
        ErrorKind.PERMISSION,
    ),
    (
        "Datastore has no credentials, and workspace msi failed to authenticate storage account.",
        ErrorKind.PERMISSION,
    ),
    ("403 Client Error: Forbidden", ErrorKind.PERMISSION),
    (
        "Failed to mount: AuthorizationPermissionMismatch: not authorized to do this",
        ErrorKind.PERMISSION,
    ),
    # cores
    ("ClusterCoreQuotaReached: not enough cores", ErrorKind.QUOTA),
    ("Allocation failed: the quota of family NCADSA100v4 was exceeded", ErrorKind.QUOTA),
    # Azure itself
    ("SystemError: AzureMLCompute job failed, an internal error occurred.", ErrorKind.SERVICE),
    ("The service answered with status code: 503", ErrorKind.SERVICE),
    # the user's own
    ("Execution failed. User process exited with status code 1.", ErrorKind.BAD_INPUT),
    ("ValueError: learning_rate 500 is too large", ErrorKind.BAD_INPUT),
    ("", ErrorKind.BAD_INPUT),
]


@pytest.mark.parametrize(("reason", "kind"), REASONS)
def test_the_service_s_own_text_tells_the_kind(reason: str, kind: ErrorKind) -> None:
    assert classify_job_failure(reason, ()) is kind


EXIT_1 = "Execution failed. User process exited with status code 1."
LOGS = [
    ("RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB", ErrorKind.OUT_OF_MEMORY),
    ("RuntimeError: CUDA error: out of memory", ErrorKind.OUT_OF_MEMORY),
    ("NCCL WARN Cuda failure 'out of memory'", ErrorKind.OUT_OF_MEMORY),
    ("[enforce fail] DefaultCPUAllocator: can't allocate memory", ErrorKind.OUT_OF_MEMORY),
    ("Allocator (GPU_0_bfc) ran out of memory trying to allocate 4GiB", ErrorKind.OUT_OF_MEMORY),
    ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED", ErrorKind.OUT_OF_MEMORY),
    ("numpy: Unable to allocate 7.45 GiB for an array", ErrorKind.OUT_OF_MEMORY),
    ("failed (exitcode: -9) local_rank: 0 of binary: python", ErrorKind.OUT_OF_MEMORY),
    ("Signal 9 (SIGKILL) received by PID 4711", ErrorKind.OUT_OF_MEMORY),
    ("azure.core: (AuthorizationPermissionMismatch) This request is ...", ErrorKind.PERMISSION),
    ("KeyError: 'messages'", ErrorKind.BAD_INPUT),
]


@pytest.mark.parametrize(("line", "kind"), LOGS)
def test_the_log_tells_it_where_the_service_only_knows_the_exit_code(
    line: str, kind: ErrorKind
) -> None:
    assert classify_job_failure(EXIT_1, ("epoch 1 of 3", line, "Traceback ends")) is kind


@pytest.mark.parametrize(
    "line",
    [
        "evicting 3 entries of the cache",
        "retrying after 503 Service Unavailable",
        "token limit exceeded, truncating: limit 2048",
        "dataset size 137, batch 9",
        "memory: 12 of 80 GB used",
    ],
)
def test_a_log_that_only_mentions_such_words_is_no_reason_to_try_again(line: str) -> None:
    assert classify_job_failure(EXIT_1, (line,)) is ErrorKind.BAD_INPUT


def test_memory_wins_over_the_lost_node_that_comes_of_it() -> None:
    lost = "AzureMLCompute job failed. Lost node heartbeat."
    assert classify_job_failure(lost, ("CUDA out of memory",)) is ErrorKind.OUT_OF_MEMORY


def test_a_preempted_node_s_kill_is_not_taken_for_memory() -> None:
    gone = "PreemptionError: Nodes of this job got pre-empted."
    assert classify_job_failure(gone, ("Signal 9 (SIGKILL) received",)) is ErrorKind.TRANSIENT


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_has_one_sentence_of_advice(kind: ErrorKind) -> None:
    advice = advice_for(kind)
    assert advice.endswith(".")
    assert advice.count(". ") == 0


def test_advice_for_memory_names_what_can_be_lowered() -> None:
    advice = advice_for(ErrorKind.OUT_OF_MEMORY)
    for word in ("batch_size", "max_seq_length", "lora", "deepspeed", "compute.size"):
        assert word in advice
