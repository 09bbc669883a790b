"""The entry script of batch deployments that bring an MLflow model and no script."""
