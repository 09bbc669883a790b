"""What run history answers of a run beside what is known here: each field, null without a value."""

from typing import Any


def _nulls(names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split())


_BOTH = {
    **_nulls("computeDuration computeRequest currentAttemptId currentComputeTime"),
    **_nulls("effectiveStartTimeUtc lastStartTimeUtc revision statusRevision"),
    "hasVirtualParent": False,
    "parameters": {},
    "runTypeV2": _nulls("orchestrator attribution computeType") | {"traits": []},
    "settings": {},
}
RUN = {
    **_BOTH,
    **_nulls("activeChildRunId cancelationReason cancelUri completeUri createdFrom"),
    **_nulls("diagnosticsUri jobSpecification name options primaryMetricName queueingInfo"),
    **_nulls("retainForLifetimeOfWorkspace runDefinition scheduleId scriptName token"),
    **_nulls("tokenExpiryTimeUtc"),
    "actionUris": {},
    "isVirtual": False,
    "uniqueChildRunComputeTargets": [],
}
"""A Run's."""
DETAILS = {**_BOTH, **_nulls("jobCost runDefinition")}
"""A RunDetails's."""
USER = _nulls("userObjectId userPuId userIdp userAltSecId userIss userTenantId userName upn")
COMPUTE = _nulls("target targetType vmSize instanceCount gpuCount priority region")
SERVICE = {
    **_nulls("type port sslThumbprint endpoint proxyEndpoint status errorMessage"),
    "enabled": None,
    "properties": {},
}
ERROR = {
    **_nulls("code severity message messageFormat referenceCode detailsUri target"),
    **_nulls("innerError debugInfo additionalInfo"),
    "messageParameters": {},
    "details": [],
}
