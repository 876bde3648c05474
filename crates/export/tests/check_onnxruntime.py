"""Checks with onnx and onnxruntime what `write_files_for_onnxruntime` of tests/onnx.rs wrote:

KINDLING_ONNX_DIR=DIR cargo test --release -p kindling-export --test onnx -- --ignored write_files
python3 check_onnxruntime.py DIR

Without onnx the files are only run.
"""

import json
import pathlib
import sys

import numpy
import onnxruntime

try:
    import onnx
except ImportError:
    onnx = None


def apart(found, expected):
    """The greatest difference of two answers: of probabilities, or of objects from the nearest of their class."""
    if len(found) == 1:
        return float(abs(found[0] - numpy.array(expected)).max())
    boxes, scores, classes = found
    expected = numpy.array(expected).reshape(-1, 6)
    found = numpy.column_stack([classes, scores, boxes])[scores >= 0.05]
    if len(found) != len(expected):
        return numpy.inf
    far = abs(found[:, None] - expected[None])
    far = numpy.where(far[..., 0] > 0, numpy.inf, far.max(2))
    return float(max(far.min(0, initial=numpy.inf).max(initial=0), far.min(1, initial=numpy.inf).max(initial=0)))


for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    if onnx:
        onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    greatest = 0.0
    for case in json.loads(path.with_suffix(".json").read_text()):
        image = numpy.array(case["rgb"], numpy.uint8).reshape(case["height"], case["width"], 3)
        # In a picture of one colour many places are a peak but for rounding.
        if image.size == 3 and "boxes" in path.name:
            continue
        batch = numpy.stack([image, image[::-1], image])
        answers = session.run(None, {"image": batch})
        alone = session.run(None, {"image": image[None]})
        for answer in ([out[0] for out in answers], [out[2] for out in answers], [out[0] for out in alone]):
            greatest = max(greatest, apart(answer, case["answer"]))
    print(f"{path.name}: greatest difference {greatest:.1e}")
    if not greatest <= 1e-4:
        sys.exit(f"{path.name} disagrees")
