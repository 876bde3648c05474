"""The whole way against the real service."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import time
from pathlib import Path

import pytest
from conftest import SMALL, Study

from kindling_client import Budget, Constraints, Kindling, KindlingError, Problem, TaskSpec


def test_a_folder_becomes_a_data_set(client: Kindling, study: Study, pictures: Path) -> None:
    dataset = study.dataset
    assert (dataset.state, dataset.name, dataset.classes) == (
        "ready",
        "camera on the hill",
        ["fire", "neither", "smoke"],
    )
    assert dataset.summary and dataset.summary.examples == 90
    assert sum(dataset.summary.counts["fire"].values()) == 30
    assert dataset.created_at.tzinfo is not None
    assert dataset.id in [one.id for one in client.datasets.list()]
    fire = list(dataset.examples(class_="fire", split="test"))
    assert fire and all((one.class_, one.split) == ("fire", "test") for one in fire)
    original = (pictures / fire[0].path).read_bytes()
    assert dataset.image(fire[0].index) == original and hashlib.sha256(original).hexdigest() == fire[0].sha256
    assert dataset.image(fire[0].index, size=16) != original


def test_an_archive_is_pushed_as_it_is(client: Kindling, pictures: Path, tmp_path: Path) -> None:
    archive = tmp_path / "some.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", pictures, "fire", "smoke"], check=True)
    dataset = client.datasets.push(archive)
    assert (dataset.name, dataset.classes) == ("some.tar.gz", ["fire", "smoke"])
    dataset.delete()
    assert dataset.id not in [one.id for one in client.datasets.list()]


def test_boxes_are_pushed_too(client: Kindling, pictures: Path) -> None:
    dataset = client.datasets.push(pictures, kind="object-detection")
    assert dataset.labels == "boxes" and dataset.summary and dataset.summary.boxes
    boxed = [one for one in dataset.examples() if one.boxes]
    assert boxed and boxed[0].boxes and 0 <= boxed[0].boxes[0].x <= 1
    assert all(not one.boxes for one in dataset.examples(empty=True))
    dataset.delete()


def test_a_task_is_told_of_while_it_is_waited_for(study: Study) -> None:
    states = [task.state for task in study.told]
    assert states[-1] == "complete" and len(states) > 1
    assert study.told[-1].refresh().state == "complete", "what is told of knows its client"
    assert study.task.is_over and study.task.progress and study.task.progress.trials_started in (1, 2)
    assert study.task.best and study.task.best.weights_bytes <= 60_000


def test_events_come_in_order_and_end(study: Study) -> None:
    events = list(study.task.events())
    ids = [event.id for event in events[:-1]]
    assert events[-1].event == "end" and events[-1].data["state"] == "complete"
    assert all(a is not None and b is not None and a < b for a, b in itertools.pairwise(ids))
    assert {"task", "trial", "rung", "model"} <= {event.event for event in events}
    middle = ids[len(ids) // 2]
    assert next(event.id for event in study.task.events(after=middle)) == ids[len(ids) // 2 + 1]


def test_lists_of_a_task(client: Kindling, study: Study) -> None:
    board = study.task.leaderboard()
    assert board[0] == study.task.best and board[0].picks
    assert study.task.progress
    assert [trial.number for trial in study.task.trials()] == list(range(study.task.progress.trials_started))
    assert study.task.id in [task.id for task in client.tasks.list()]


def test_every_file_is_downloaded_and_checked(study: Study, tmp_path: Path) -> None:
    paths = study.task.download(tmp_path / "model")
    listed = {file.name: file for file in study.model.list_files()}
    assert {path.name for path in paths} == set(listed) == {path.name for path in (tmp_path / "model").iterdir()}
    for path in paths:
        content = path.read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (
            listed[path.name].bytes,
            listed[path.name].sha256,
        )
    # By the bundle's own checksums too.
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "model", check=True)


def test_what_is_there_is_not_fetched_again_and_what_is_wrong_is(study: Study, tmp_path: Path) -> None:
    (path,) = study.model.download(tmp_path, files=["labels.json"])
    right, made = path.read_bytes(), path.stat().st_mtime_ns
    study.model.download(tmp_path, files=["labels.json"])
    assert path.stat().st_mtime_ns == made
    path.write_bytes(b"x" * len(right))
    (tmp_path / ".labels.json.0123456789abcdef.part").write_bytes(b"of another time")
    study.model.download(tmp_path, files=["labels.json"])
    assert path.read_bytes() == right and list(tmp_path.iterdir()) == [path]
    with pytest.raises(KindlingError, match=r"no file `weights\.bin`; it has `model\.onnx`"):
        study.model.download(tmp_path, files=["weights.bin"])


def test_answers(study: Study, pictures: Path) -> None:
    paths = sorted(pictures.glob("fire/*.png"))[:40]
    one = study.model.predict(paths[0])
    assert one.label in study.dataset.classes and one.probabilities
    assert sum(p.probability for p in one.probabilities) == pytest.approx(1, abs=1e-4)
    # More than one request holds, paths and bytes, and one that is no picture.
    several = study.model.predict_many([*paths, paths[0].read_bytes(), b"nothing", str(paths[0])])
    assert len(several) == len(paths) + 3
    assert several[0].answer and several[0].answer.probabilities == one.probabilities
    assert several[-3].answer and several[-3].answer.probabilities == one.probabilities
    assert several[-2].answer is None and several[-2].problem and several[-2].problem["code"] == "invalid_image"
    assert several[-1].name == paths[0].name
    assert study.model.explain(paths[0], class_="smoke").startswith(b"\x89PNG")
    assert all(mistake.truth != mistake.predicted for mistake in study.model.mistakes())


def test_the_card(study: Study) -> None:
    assert study.model.id == study.task.best_model and study.model.labels == study.dataset.classes
    assert 0 <= study.model.test["accuracy"] <= 1
    assert study.model.data["audit"], "members that the client does not name are kept"


def test_the_same_key_gives_the_same_task_and_a_task_can_be_cancelled(client: Kindling, study: Study) -> None:
    spec = TaskSpec(
        name="twice", dataset=study.dataset.id, budget=Budget(seconds=600), constraints=Constraints(max_macs=2_000_000)
    )
    first = client.tasks.create(spec, idempotency_key="one key")
    assert client.tasks.create(spec, idempotency_key="one key").id == first.id
    assert client.tasks.create(
        {
            **SMALL,
            "budget": {"seconds": 600},
            "version": 1,
            "name": "other",
            "kind": spec.kind,
            "dataset": study.dataset,
        }
    ).cancel()
    over = first.cancel().wait(progress=False)
    assert over.state == "cancelled" and over.spec["constraints"] == {"max_macs": 2_000_000}
    for _ in range(100):
        try:
            over.delete()
            break
        except Problem as problem:
            assert problem.code == "task_state", "its workers let go within a second or two"
            time.sleep(0.1)
    assert over.id not in [one.id for one in client.tasks.list()]


def test_labels_are_changed_in_a_new_version(study: Study) -> None:
    example = next(study.dataset.examples(class_="fire"))
    other = next(study.dataset.examples(class_="smoke"))
    changed = study.dataset.relabel({example.index: "neither", other.index: None}, name="mended")
    assert changed.summary and changed.summary.examples == 89 and changed.name == "mended"
    assert sum(changed.summary.counts["fire"].values()) == 29
    changed.delete()


def test_a_draft_is_labelled_and_sealed(client: Kindling, study: Study, pictures: Path) -> None:
    draft = client.drafts.create("new ones", classes=["fire", "neither"])
    added = draft.add_pictures(pictures)
    assert (added.added, added.copies) == (90, 0)
    assert draft.add_pictures(next(pictures.glob("smoke/*.png"))).copies == 1
    assert draft.add_classes(["smoke"]).classes == ["fire", "neither", "smoke"]
    assert draft.suggest(study.model).asked == 90
    surest = list(draft.pictures(state="unlabelled", order="doubt"))[-1]
    assert surest.suggestion and surest.suggestion.class_ and surest.suggested_by == study.model.id
    for picture in draft.pictures():
        draft.label(picture.index, Path(picture.path).parent.name or "fire")
    assert draft.skip(0).state == "skipped" and client.drafts.clear(draft, 0).state == "unlabelled"
    assert draft.accept(examples=[0]).accepted == [0]
    sealed = draft.seal()
    assert sealed.state == "ready" and sealed.summary and sealed.summary.examples == 90
    assert draft.refresh().labelled == 90
    draft.delete()


def test_doubts_and_advice(client: Kindling, study: Study) -> None:
    doubts = client.datasets.find_doubts(study.dataset, folds=2, epochs=1)
    assert doubts == client.datasets.doubts(study.dataset)
    assert all(doubt.given != doubt.suggested and 0 <= doubt.score <= 1 for doubt in doubts)
    advice = client.tasks.advise(study.task, repeats=1, epochs=1)
    assert (advice.state, advice.progress) == ("complete", 1.0)
    assert advice.report and {one["lever"] for one in advice.report["advice"]} >= {"examples"}
    assert client.tasks.advice(study.task).id == advice.id


def test_the_service_tells_of_itself(client: Kindling) -> None:
    assert client.ready().ready
    assert client.task_schema()["title"] == "TaskSpec"
