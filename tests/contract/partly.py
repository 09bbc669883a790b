"""What is emulated, but not all of it."""

PARTLY = {
    "Jobs_CreateOrUpdate": "command and pipeline jobs; sweep, AutoML, Spark and labeling jobs "
    "answer 501",
    "PrivateEndpointConnections_Get": "there are none: 404",
    "BatchEndpoints_ListKeys": "they have none: 400",
    "Jobs_Update": "notification settings are kept; nobody is notified",
    "OnlineDeployments_CreateOrUpdate": "no containers: images are named in the log and not used",
    "EnvironmentVersions_CreateOrUpdate": "images and build contexts are kept and not used",
    "BlockBlob_Upload": "block blobs; page and append blobs answer 501",
    "Blob_GetProperties": "no snapshots, versions or leases",
    "Container_ListBlobs": "the delimiter is `/`; `include` knows metadata and uncommittedblobs",
    "Workspaces_Get": "one account's workspaces, without registry and insights behind them",
    "RoleDefinitions_List": "built-in roles that examples of Azure ML assign",
    "RoleAssignments_Create": "kept; only blobs and secrets ask for them",
    "StorageAccounts_Create": "blobs; no files, queues, tables or hierarchical namespace",
    "Vaults_CreateOrUpdate": "secrets; no keys and no certificates",
    "Vaults_Delete": "gone at once: a deleted vault cannot be recovered",
    "ManagedNetworkSettingsRule_CreateOrUpdate": "rules are kept; no traffic is kept from anywhere",
    "Identity_Token": "client credentials; no user signs in",
}
"""An operation, and what of it is missing."""
