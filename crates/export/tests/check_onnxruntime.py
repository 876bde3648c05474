"""Checks with onnx and onnxruntime what `write_files_for_onnxruntime` of tests/onnx.rs wrote:

KINDLING_ONNX_DIR=DIR cargo test --release -p kindling-export --test onnx -- --ignored write_files
python3 check_onnxruntime.py DIR
"""

import json
import pathlib
import sys

import numpy
import onnx
import onnxruntime

for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    greatest = 0.0
    for case in json.loads(path.with_suffix(".json").read_text()):
        image = numpy.array(case["rgb"], numpy.uint8).reshape(case["height"], case["width"], 3)
        batch = numpy.stack([image, image[::-1], image])
        answers = session.run(None, {"image": batch})[0]
        alone = session.run(None, {"image": image[None]})[0]
        for answer in (answers[0], answers[2], alone[0]):
            greatest = max(greatest, float(abs(answer - numpy.array(case["probabilities"])).max()))
    print(f"{path.name}: greatest difference {greatest:.1e}")
    if not greatest <= 1e-4:
        sys.exit(f"{path.name} disagrees")
