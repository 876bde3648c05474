"""Every operation as a flow, by what it is about."""

from . import datasets, drafts, models, tasks

__all__ = ["datasets", "drafts", "models", "tasks"]
