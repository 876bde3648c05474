"""The client against the service's own description, and its two halves against each other."""

from __future__ import annotations

import inspect
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from kindling_client import async_parts, async_things, draft_models, models, parts, spec, things
from kindling_client._operations import ONCE, OPERATIONS

#: What the client leaves to others: the pages, what is for monitors, fleets, bundles, whose files it fetches and checks
#: one by one, and the upload in one piece, for it sends archives in parts.
LEFT_OUT = {
    "getHealth", "getMetrics", "getService", "getOpenApi", "getFleetSpecSchema", "getBundle",
    "createFleet", "listFleets", "getFleet", "cancelFleet", "deleteFleet", "getFleetReport", "getFleetBundle",
    "uploadContent",
}  # fmt: skip


@pytest.fixture(scope="module")
def openapi(url: str) -> dict[str, Any]:
    described: dict[str, Any] = httpx.get(f"{url}/openapi.json", trust_env=False).json()
    return described


def test_every_operation_is_known_or_left_out(openapi: dict[str, Any]) -> None:
    described, once = {}, set()
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            if "pages" in operation["tags"]:
                continue
            described[operation["operationId"]] = (method.upper(), path)
            if any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", [])):
                once.add(operation["operationId"])
    assert set(described) == set(OPERATIONS) | LEFT_OUT
    assert all(described[name] == where for name, where in OPERATIONS.items())
    assert once & set(OPERATIONS) == ONCE


NAMED: dict[str, type[BaseModel]] = {
    "Dataset": models.DatasetFields, "Refusal": models.Refusal, "Example": models.Example, "Box": models.Box,
    "Analysis": models.Analysis, "Doubt": models.Doubt, "Task": models.TaskFields, "Trial": models.Trial,
    "LeaderboardItem": models.LeaderboardItem, "File": models.File, "Answer": models.Answer,
    "ClassProbability": models.ClassProbability, "Object": models.Object, "Decision": models.Decision,
    "ImageAnswer": models.ImageAnswer, "Mistake": models.Mistake, "Readiness": models.Readiness,
    "Draft": draft_models.DraftFields, "DraftExample": draft_models.DraftExample, "Said": draft_models.Said,
    "Added": draft_models.Added, "Broken": draft_models.Broken, "Suggested": draft_models.Suggested,
    "Accepted": draft_models.Accepted, "TaskSpec": spec.TaskSpec, "Budget": spec.Budget,
    "Constraints": spec.Constraints, "Upload": models.Upload, "UploadPart": models.UploadPart,
    "Webhook": models.Webhook, "WebhookDelivery": models.Delivery,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_every_member_of_an_answer_is_typed(openapi: dict[str, Any], name: str) -> None:
    schema, model = openapi["components"]["schemas"][name], NAMED[name]
    fields = {field.alias or own: field for own, field in model.model_fields.items()}
    assert set(schema["properties"]) - set(fields) == set()
    # What the client insists on is what the service always says.
    insisted = {member for member, field in fields.items() if field.is_required()}
    assert insisted <= set(schema.get("required", [])) | ({"dataset"} if model is spec.TaskSpec else set())


PAIRS = [
    (getattr(blocking, name), getattr(awaiting, f"Async{name}"))
    for blocking, awaiting, names in (
        (parts, async_parts, ("Datasets", "Tasks", "Models", "Drafts", "Webhooks")),
        (things, async_things, ("Dataset", "Task", "Model", "Draft")),
    )
    for name in names
]


@pytest.mark.parametrize(("blocking", "awaiting"), PAIRS)
def test_both_halves_offer_the_same(blocking: type, awaiting: type) -> None:
    def offered(cls: type) -> dict[str, Any]:
        return {
            name: member
            for name, member in vars(cls).items()
            if inspect.isfunction(member) and not name.startswith("_")
        }

    def told(signature: inspect.Signature) -> str:
        return str(signature).replace("Async", "")

    ours, theirs = offered(blocking), offered(awaiting)
    assert ours and list(ours) == list(theirs)
    for name, member in ours.items():
        assert told(inspect.signature(member)) == told(inspect.signature(theirs[name])), name
        assert member.__doc__ and member.__doc__ == theirs[name].__doc__, name
    assert not issubclass(blocking, BaseModel) or blocking.__doc__
