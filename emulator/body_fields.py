"""The JSON types of the properties that clients send: facts of the service's published API."""

from emulator.body_check import Fields, ListOf, MapOf, Plain, Shape


def every(plain: Plain, names: str) -> dict[str, Shape]:
    """Fields of one type, by their names with spaces between them."""
    return dict.fromkeys(names.split(), plain)


SCALARS = MapOf("scalar")
OBJECTS = MapOf("object")
_IDENTITY = Fields({**every("text", "type identityType"), "userAssignedIdentities": "object"})
SKU = Fields({**every("text", "name tier size family"), "capacity": "whole"})
TRACKED: dict[str, Shape] = {
    "location": "text",
    "kind": "text",
    "tags": SCALARS,
    "identity": _IDENTITY,
}


COMMON: dict[str, Shape] = {
    "description": "text",
    "tags": SCALARS,
    "properties": SCALARS,
    "isArchived": "boolean",
}
VERSION: dict[str, Shape] = {
    **COMMON,
    **every("text", "stage"),
    **every("object", "autoDeleteSetting intellectualProperty"),
    "isAnonymous": "boolean",
}

_RECURRENCE: dict[str, Shape] = {
    **every("text", "frequency startTime endTime timeZone expression triggerType"),
    "interval": "whole",
    "schedule": Fields(
        {
            "hours": ListOf("whole"),
            "minutes": ListOf("whole"),
            "monthDays": ListOf("whole"),
            "weekDays": ListOf("text"),
        }
    ),
}

JOB: dict[str, Shape] = {
    **COMMON,
    **every("text", "jobType displayName experimentName computeId componentId sourceJobId"),
    **every("text", "command codeId environmentId"),
    "environmentVariables": SCALARS,
    "services": OBJECTS,
    "inputs": MapOf(
        Fields(
            {
                **every("text", "jobInputType uri mode description pathOnCompute"),
                "value": "scalar",
            }
        )
    ),
    "outputs": MapOf(
        Fields(
            {
                **every("text", "jobOutputType uri mode description pathOnCompute"),
                **every("text", "assetName assetVersion"),
            }
        )
    ),
    "jobs": OBJECTS,
    "settings": "object",
    "identity": _IDENTITY,
    "limits": Fields(every("text", "jobLimitsType timeout")),
    "resources": Fields(
        {
            **every("text", "instanceType shmSize dockerArgs"),
            "instanceCount": "whole",
            "properties": "object",
        }
    ),
    "distribution": Fields(
        {
            "distributionType": "text",
            **every("whole", "processCountPerInstance workerCount parameterServerCount"),
        }
    ),
    **every("object", "queueSettings notificationSetting secretsConfiguration"),
}

SPEC = Fields(
    {
        **every("text", "name type command display_name description code"),
        "version": "scalar",
        "tags": "object",
        "inputs": OBJECTS,
        "outputs": OBJECTS,
        "jobs": OBJECTS,
    }
)

COMPUTE: dict[str, Shape] = {
    **every("text", "computeType computeLocation description resourceId"),
    "disableLocalAuth": "boolean",
    "properties": Fields(
        {
            **every("text", "osType vmSize vmPriority remoteLoginPortPublicAccess"),
            **every("text", "applicationSharingPolicy computeInstanceAuthorizationType"),
            **every("text", "idleTimeBeforeShutdown"),
            **every("boolean", "isolatedNetwork enableNodePublicIp enableOSPatching enableSSO"),
            **every("boolean", "enableRootAccess releaseQuotaOnStop"),
            **every("object", "virtualMachineImage subnet propertyBag autologgerSettings"),
            **every("object", "personalComputeInstanceSettings setupScripts"),
            "scaleSettings": Fields(
                {
                    **every("whole", "minNodeCount maxNodeCount"),
                    "nodeIdleTimeBeforeScaleDown": "text",
                }
            ),
            "userAccountCredentials": Fields(
                every("text", "adminUserName adminUserSshPublicKey adminUserPassword")
            ),
            "sshSettings": Fields(every("text", "sshPublicAccess adminPublicKey")),
            "customServices": ListOf("object"),
            "schedules": Fields(
                {
                    "computeStartStop": ListOf(
                        Fields(
                            {
                                **every("text", "status action triggerType"),
                                "cron": Fields(_RECURRENCE),
                                "recurrence": Fields(_RECURRENCE),
                            }
                        )
                    )
                }
            ),
        }
    ),
}

ENDPOINT: dict[str, Shape] = {
    **every("text", "authMode description compute publicNetworkAccess"),
    "properties": SCALARS,
    "keys": Fields(every("text", "primaryKey secondaryKey")),
    "traffic": MapOf("whole"),
    "mirrorTraffic": MapOf("whole"),
}
_PROBE = Fields(
    {
        **every("whole", "failureThreshold successThreshold"),
        **every("text", "initialDelay period timeout"),
    }
)
DEPLOYMENT: dict[str, Shape] = {
    **every("text", "description environmentId endpointComputeType instanceType model"),
    **every("text", "modelMountPath egressPublicNetworkAccess"),
    "codeConfiguration": Fields(every("text", "codeId scoringScript")),
    "environmentVariables": SCALARS,
    "properties": SCALARS,
    "appInsightsEnabled": "boolean",
    "dataCollector": "object",
    "livenessProbe": _PROBE,
    "readinessProbe": _PROBE,
    "requestSettings": Fields(
        {
            "maxConcurrentRequestsPerInstance": "whole",
            **every("text", "maxQueueWait requestTimeout"),
        }
    ),
    "scaleSettings": Fields(
        {
            **every("text", "scaleType pollingInterval"),
            **every("whole", "maxInstances minInstances targetUtilizationPercentage"),
        }
    ),
}

BATCH_ENDPOINT: dict[str, Shape] = {
    **every("text", "authMode description"),
    "properties": SCALARS,
    "keys": Fields(every("text", "primaryKey secondaryKey")),
    "defaults": Fields({"deploymentName": "text"}),
}
_ASSET = Fields(every("text", "referenceType assetId path datastoreId jobId"))
BATCH_DEPLOYMENT: dict[str, Shape] = {
    **every("text", "compute description environmentId loggingLevel outputAction outputFileName"),
    **every("whole", "errorThreshold maxConcurrencyPerInstance miniBatchSize"),
    "codeConfiguration": Fields(every("text", "codeId scoringScript")),
    "environmentVariables": SCALARS,
    "properties": SCALARS,
    "model": _ASSET,
    "resources": Fields({"instanceCount": "whole", "instanceType": "text", "properties": "object"}),
    "retrySettings": Fields({"maxRetries": "whole", "timeout": "text"}),
    "deploymentConfiguration": Fields(
        {
            **every("text", "deploymentConfigurationType description"),
            "tags": SCALARS,
            "settings": SCALARS,
            "componentId": _ASSET,
        }
    ),
}

SCHEDULE: dict[str, Shape] = {
    **COMMON,
    "displayName": "text",
    "isEnabled": "boolean",
    "trigger": Fields(_RECURRENCE),
    "action": Fields(
        {
            "actionType": "text",
            "jobDefinition": Fields(JOB),
            **every("object", "monitorDefinition dataImportDefinition"),
        }
    ),
}

DATASTORE: dict[str, Shape] = {
    **COMMON,
    **every("text", "datastoreType accountName containerName filesystem fileShareName endpoint"),
    **every("text", "protocol storeName nameNodeAddress oneLakeWorkspaceName resourceGroup"),
    **every("text", "subscriptionId serviceDataAccessAuthIdentity"),
    "isDefault": "boolean",
    "artifact": "object",
    "credentials": Fields(
        {
            **every(
                "text", "credentialsType authorityUrl clientId resourceUrl tenantId thumbprint"
            ),
            "secrets": SCALARS,
        }
    ),
}

WORKSPACE: dict[str, Shape] = {
    **every("text", "description friendlyName publicNetworkAccess imageBuildCompute keyVault"),
    **every("text", "applicationInsights containerRegistry storageAccount"),
    **every("text", "primaryUserAssignedIdentity systemDatastoresAuthMode"),
    **every("boolean", "hbiWorkspace enableDataIsolation v1LegacyMode"),
    **every("boolean", "allowPublicAccessWhenBehindVnet"),
    **every("object", "managedNetwork serverlessComputeSettings networkAcls encryption"),
}

CONNECTION: dict[str, Shape] = {
    **every("text", "category authType target expiryTime group"),
    "isSharedToAll": "boolean",
    **every("object", "credentials metadata"),
    "sharedUserList": ListOf("text"),
}

MODEL: dict[str, Shape] = {
    **VERSION,
    **every("text", "modelType modelUri jobName"),
    "flavors": OBJECTS,
}
DATA: dict[str, Shape] = {
    **VERSION,
    **every("text", "dataType dataUri"),
    "referencedUris": ListOf("text"),
}
ENVIRONMENT: dict[str, Shape] = {
    **VERSION,
    **every("text", "condaFile image osType autoRebuild"),
    "build": Fields(every("text", "contextUri dockerfilePath")),
    "inferenceConfig": "object",
}
REGISTRY: dict[str, Shape] = {
    **every("text", "discoveryUrl intellectualPropertyPublisher mlFlowRegistryUri"),
    "publicNetworkAccess": "text",
    "managedResourceGroup": Fields({"resourceId": "text"}),
    "regionDetails": ListOf("object"),
}
MLFLOW_REGISTRY = Fields(
    {
        **every("text", "name new_name description source run_id run_link key alias stage filter"),
        **every("text", "page_token"),
        **every("scalar", "value version max_results archive_existing_versions"),
        "tags": ListOf(Fields({"key": "text", "value": "scalar"})),
        "stages": ListOf("text"),
        "order_by": ListOf("text"),
    }
)
