"""Every operation as a flow, by what it is about."""

from . import datasets, drafts, models, tasks, webhooks

__all__ = ["datasets", "drafts", "models", "tasks", "webhooks"]
