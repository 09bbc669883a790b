"""What kind of failure a job's error text and its last log lines tell of, and what to do then."""

import re
from collections.abc import Sequence

from tasks.errors import ErrorKind


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_OUT_OF_MEMORY = _any(
    r"\bout of (?:gpu |host )?memory\b",
    r"\bOutOfMemoryError\b",
    r"\bOOM[- ]?Killed\b",
    r"\bCUBLAS_STATUS_ALLOC_FAILED\b",
    r"\bunable to allocate [\d.]+ [KMGT]?iB\b",
    r"\bDefaultCPUAllocator: can't allocate memory",
    r"\bINSUFFICIENT_GPU_MEMORY\b",
)
# Mostly the kernel that ended a process for its memory; a machine that is taken away kills too.
_KILLED = _any(
    r"\bexit(?:ed)?(?: with)?(?: status)?[ _-]?(?:code)?:?[ =]*137\b",
    r"\b(?:signal|exitcode)\s*[:=]?\s*-?9\b",
    r"\bSIGKILL\b",
)
_PERMISSION = _any(
    r"\bAuthorization(?:Failed|PermissionMismatch|Failure)\b",
    r"\bdoes not have (?:authorization|permission|access)\b",
    r"\bidentity\b.{0,80}\b(?:not found|no access|not assigned|permission)",
    r"\b(?:403|401)\b.{0,40}\b(?:forbidden|client error|unauthorized|not authorized)",
    r"\bstatus(?: code)?:? ?(?:403|401)\b",
    r"\bInvalidAuthenticationToken\b",
    r"\bScriptExecution\.\w+\.Authentication\b",
    r"\bfail\w* to authenticate\b|\bauthentication failed\b",
    r"\b(?:don't|do not|does not) have (?:the )?(?:correct |right )?(?:permission|access)",
    r"\bpermission denied\b.{0,80}\b(?:datastore|storage|blob|container)",
)
_QUOTA = _any(
    r"\bClusterCoreQuotaReached\b",
    r"\b(?:quota|limit)\b.{0,40}\b(?:exceed|reached|insufficient)",
    r"\b(?:exceed\w*|insufficient|not enough)\b.{0,40}\b(?:quota|cores)\b",
    r"\bOutOfCapacity\b",
    r"\bSkuNotAvailable\b",
    r"\bAllocationFailed\b",
)
_TRANSIENT = _any(
    r"\bpre-?empt",
    r"\bevict",
    r"\bnode\b.{0,40}\b(?:lost|unusable|unhealthy|rebooted|went away)\b",
    r"\blost\b.{0,20}\b(?:heartbeat|node)\b",
    r"\bheartbeat\b.{0,40}\b(?:lost|missing|missed|timed? ?out|fail)",
    r"\b(?:image ?pull|pull(?:ing)? (?:the )?(?:docker )?image)\b.{0,60}\b(?:fail|error|back)",
    r"\b(?:fail\w*|unable|error)\b.{0,40}\bpull\w*\b.{0,30}\bimage\b",
    r"\bErrImagePull\b|\bImagePullBackOff\b",
    r"\bfailed to mount\b|\bunable to mount\b|\bmount\w* (?:fail|timed? ?out)",
    r"\bconnection (?:reset|aborted)\b",
    r"\btemporary failure in name resolution\b",
)
_SERVICE = _any(
    r"\bSystemError\b",
    r"\bServiceError\b",
    r"\bInternal ?Server ?Error\b",
    r"\b(?:status(?: code)?|http)[: ]+5\d\d\b",
    r"\bservice (?:is )?(?:temporarily )?unavailable\b",
    r"\bAzureMLCompute job failed\b.{0,60}\binternal\b",
)
# The first that fits decides. Memory comes first: a node whose memory is full also loses its
# heartbeat, and such a job must not be repeated unchanged.
_BY_REASON = (
    (ErrorKind.OUT_OF_MEMORY, _OUT_OF_MEMORY),
    (ErrorKind.PERMISSION, _PERMISSION),
    (ErrorKind.QUOTA, _QUOTA),
    (ErrorKind.TRANSIENT, _TRANSIENT),
    (ErrorKind.OUT_OF_MEMORY, _KILLED),
    (ErrorKind.SERVICE, _SERVICE),
)
# A log speaks of much that is no failure ("service", "limit", "evicting cache", retries), so
# without a word in the service's own text only these decide.
_BY_LOG = (
    (ErrorKind.OUT_OF_MEMORY, _KILLED),
    (ErrorKind.PERMISSION, _any(r"\bAuthorization(?:Failed|PermissionMismatch|Failure)\b")),
)


def classify_job_failure(reason: str, lines: Sequence[str]) -> ErrorKind:
    """The kind of a job's failure; `BAD_INPUT` where nothing points to another one.

    `reason` is the service's error text, `lines` the last lines of the failed step's log. Only a
    failure of kind `TRANSIENT` may be tried again as it is.
    """
    log = "\n".join(lines)
    if _OUT_OF_MEMORY.search(log):
        return ErrorKind.OUT_OF_MEMORY
    for text, patterns in ((" ".join(reason.split()), _BY_REASON), (log, _BY_LOG)):
        for kind, pattern in patterns:
            if pattern.search(text):
                return kind
    return ErrorKind.BAD_INPUT


_ADVICE = {
    ErrorKind.OUT_OF_MEMORY: (
        "Lower parameters.per_device_train_batch_size or parameters.max_seq_length, switch on "
        "apply_lora or apply_deepspeed, or take a compute.size with more GPU memory; unchanged "
        "it fails again."
    ),
    ErrorKind.TRANSIENT: "The machine or the network failed, not the training: run again.",
    ErrorKind.QUOTA: (
        "Ask for more quota of this VM family in the Azure portal (Quotas, Machine Learning), or "
        "choose a smaller compute.size."
    ),
    ErrorKind.PERMISSION: (
        "Give the cluster's managed identity, or your own, the roles Storage Blob Data Contributor "
        "on the workspace's storage and AzureML Data Scientist on the workspace."
    ),
    ErrorKind.SERVICE: "Azure ML itself failed: look at Azure's status page, then run again.",
    ErrorKind.BAD_INPUT: "Correct what the error or the log names, then run again.",
}


def advice_for(kind: ErrorKind) -> str:
    """The next step after a job has failed in this way: one sentence."""
    return _ADVICE[kind]
