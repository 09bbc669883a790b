"""Environments of jobs and deployments: which Python runs them, and how it comes to be."""

from emulator.environments.interpreter import EnvironmentFailed, Interpreter
from emulator.environments.service import Environments

__all__ = ["EnvironmentFailed", "Environments", "Interpreter"]
