"""Times ONNX files in onnxruntime, one thread: export_ort.py SECONDS NETWORK.onnx, prints JSON.

Each file takes float32 [1, C, H, W] or uint8 [1, H, W, 3]. Memory is the growth of the resident set from before the session is made
to its highest since.
"""
import json
import sys
import time

import numpy
import onnxruntime


def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


seconds, path = float(sys.argv[1]), sys.argv[2]
before = status("VmRSS")
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
given = session.get_inputs()[0]
if given.type == "tensor(uint8)":
    height, width = int(sys.argv[3]), int(sys.argv[4])
    x = numpy.random.default_rng(0).integers(0, 256, (1, height, width, 3), numpy.uint8)
else:
    x = numpy.random.default_rng(0).standard_normal(given.shape, numpy.float32)
times, end = [], time.perf_counter() + seconds
for _ in range(3):
    session.run(None, {given.name: x})
while time.perf_counter() < end or len(times) < 5:
    start = time.perf_counter()
    session.run(None, {given.name: x})
    times.append(time.perf_counter() - start)
print(json.dumps({"ms": sorted(times)[len(times) // 2] * 1e3, "memory": status("VmHWM") - before, "runs": len(times)}))
