"""What a task asks for. The service is the judge of it and tells every broken rule at once.

A plain ``dict`` does as well; ``GET /v1/schema/task-spec.json`` has the schema.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

TaskKind = Literal["image-classification", "object-detection", "object-localization", "anomaly-detection"]


class _Sent(BaseModel):
    # Members that only a newer service knows may be given.
    model_config = ConfigDict(extra="allow", populate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        """As it is sent: what was not set is left to the service."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


class Budget(_Sent):
    """When the search ends: at whichever comes first."""

    #: Seconds from the first trial's start to the last file's writing.
    seconds: float | None = None
    #: Candidates started.
    trials: int | None = None


class Constraints(_Sent):
    """What the model may cost. What is left out is not limited."""

    #: Bytes of the weights as deployed.
    max_weights_bytes: int | None = None
    #: Multiply-accumulates to answer one image.
    max_macs: int | None = None
    #: Peak bytes of activations while one image is answered.
    max_ram_bytes: int | None = None
    #: Milliseconds to answer one image on the service's machine, one thread, median.
    max_latency_ms: float | None = None
    #: The numbers whose bytes count: ``float32`` if not said, or ``int8``.
    data_type: str | None = None


class Objective(_Sent):
    """The figure a study works towards."""

    #: ``accuracy``, ``balanced_accuracy``, ``f1_macro``, ``recall_at_precision``, ``map50``, ``map`` …
    metric: str
    #: With ``recall_at_precision``: the class to find, and the least precision.
    class_: str | None = Field(default=None, alias="class")
    precision: float | None = None


class TaskSpec(_Sent):
    """What is wanted told apart, and at what cost."""

    version: int = 1
    name: str
    kind: TaskKind | str = "image-classification"
    #: The data set's id.
    dataset: str
    budget: Budget
    #: Which classes: some of them, or new names with the classes each is made of. All when left out.
    classes: list[str] | dict[str, list[str]] | None = None
    #: With ``anomaly-detection``: the class whose pictures are good; every other is faulty.
    good: str | None = None
    #: With ``anomaly-detection``: the share of good pictures that may be called faulty.
    false_alarms: float | None = None
    objective: Objective | None = None
    constraints: Constraints | None = None
    #: ``onnx``, ``onnx-int8``, ``c``, ``rust``, ``web``, ``python``, ``safetensors``, ``burnpack``. All when left out.
    exports: list[str] | None = None
    seed: int | None = None
    #: ``auto``, ``off``, or the id of the model to begin from.
    warm_start: str | None = None
    #: A pretrained network, such as ``efficientnet-lite0``.
    backbone: str | None = None
    distillation: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is sent; version and kind always are."""
        return {"version": self.version, "kind": self.kind, **super().to_json()}
