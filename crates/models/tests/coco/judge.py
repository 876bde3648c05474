#!/usr/bin/env python3
"""Random truths and detections, and what pycocotools says of them, as JSON on standard output.

    python3 judge.py SEED            needs numpy and pycocotools

`golden.json` beside this file is the answer to `python3 judge.py 0`, made with pycocotools 2.0.11.
"""

import contextlib
import io
import json
import sys

import numpy
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def judge(classes, pictures):
    """mAP@.5, mAP@.5:.95 and each class's two, -1 where there are no boxes."""
    truths, detections = [], []
    for image, picture in enumerate(pictures):
        for category, box in picture["truths"]:
            truths.append({"id": len(truths) + 1, "image_id": image + 1, "category_id": category + 1, "bbox": box,
                           "area": box[2] * box[3], "iscrowd": 0})
        for category, score, box in picture["detections"]:
            detections.append({"image_id": image + 1, "category_id": category + 1, "bbox": box, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": image + 1, "width": 1000, "height": 1000} for image in range(len(pictures))],
            "categories": [{"id": category + 1, "name": str(category)} for category in range(classes)],
            "annotations": truths,
        }
        coco.createIndex()
        results = coco.loadRes(detections)
        evaluation = COCOeval(coco, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # Overlaps, recalls, classes; all areas and at most 100 detections.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]

    def mean(values):
        values = values[values > -1]
        return float(values.mean()) if values.size else -1.0

    each = [[mean(precision[0, :, k]), mean(precision[:, :, k])] for k in range(classes)]
    return {"map50": float(evaluation.stats[1]), "map": float(evaluation.stats[0]), "classes": each}


def make(random, classes, pictures, most, noise, step, crowd=0):
    """Truths, found more or less: moved, doubled, missed, of the wrong class, or made up; scores rounded to a step, so
    that some are equal."""
    made = []
    for _ in range(pictures):
        truths, detections = [], []
        for _ in range(int(random.integers(0, most + 1))):
            size = random.uniform(20, 300, 2)
            box = numpy.concatenate([random.uniform(0, 700, 2), size]).round(1)
            category = int(random.integers(0, classes))
            truths.append([category, box.tolist()])
            for _ in range(int(random.choice([0, 1, 1, 1, 2]))):
                moved = box + random.normal(0, noise, 4) * numpy.tile(size, 2)
                moved[2:] = moved[2:].clip(1)
                guessed = category if random.random() < 0.9 else int(random.integers(0, classes))
                detections.append([guessed, random.beta(4, 2), moved.round(2).tolist()])
        for _ in range(int(random.integers(0, most + 1)) + crowd):
            box = numpy.concatenate([random.uniform(0, 700, 2), random.uniform(20, 300, 2)]).round(1)
            # In a crowd what is made up is as sure as what is not, so that right ones are beyond the hundredth.
            score = random.beta(4, 2) if crowd else random.beta(2, 4)
            detections.append([int(random.integers(0, classes)), score, box.tolist()])
        order = random.permutation(len(detections))
        detections = [detections[i] for i in order]
        for detection in detections:
            detection[1] = round(round(detection[1] / step) * step, 6)
        made.append({"truths": truths, "detections": detections})
    return made


def main():
    seed = int(sys.argv[1])
    random = numpy.random.default_rng(seed)
    cases = []
    for name, classes, arguments in [
        ("a few classes", 3, {"pictures": 25, "most": 4, "noise": 0.08, "step": 1e-6}),
        ("equal scores", 2, {"pictures": 20, "most": 5, "noise": 0.1, "step": 0.1}),
        ("classes without boxes", 12, {"pictures": 6, "most": 2, "noise": 0.03, "step": 0.01}),
        ("more than a hundred detections", 1, {"pictures": 2, "most": 8, "noise": 0.02, "step": 0.05, "crowd": 130}),
    ]:
        pictures = make(random, classes, **arguments)
        cases.append({"name": name, "classes": classes, "pictures": pictures, "expected": judge(classes, pictures)})
    # The surer detection overlaps both truths alike; which of them it takes decides what is left for the other.
    alike = [{
        "truths": [[0, [0, 0, 20, 10]], [0, [10, 0, 20, 10]]],
        "detections": [[0, 0.9, [5, 0, 20, 10]], [0, 0.8, [10, 0, 20, 10]]],
    }]
    cases.append({"name": "two truths alike", "classes": 1, "pictures": alike, "expected": judge(1, alike)})
    print(json.dumps({"command": f"python3 judge.py {seed}", "cases": cases}, separators=(",", ":")))


if __name__ == "__main__":
    main()
