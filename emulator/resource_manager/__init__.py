"""Azure Resource Manager's view of a workspace, one file a resource kind."""
