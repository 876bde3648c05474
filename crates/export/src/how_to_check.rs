//! How to check a bundle's figures again, with nothing of ours.

use crate::{FileInfo, HowTo};
use kindling_graph::Answer;

/// How to check a bundle's figures again, for the files it holds.
pub fn how_to_check(files: &[FileInfo], answer: Answer) -> Vec<HowTo> {
    let how = |figure: &str, command: &str| HowTo { figure: figure.into(), command: command.into() };
    let mut list = vec![how("that no file was changed since it was written", "sha256sum -c SHA256SUMS")];
    let has = |name: &str| files.iter().any(|file| file.name == name);
    if has("predict.py") {
        list.push(how("the answer for some images, with nothing of ours", "python3 predict.py IMAGE..."));
        if answer == Answer::Map {
            list.push(how("the same, drawn over the image", "python3 predict.py --draw OUT.png IMAGE"));
        }
    }
    if has("model.onnx") {
        list.push(how("the answer for some images", "kindling predict model.onnx IMAGE..."));
    }
    if has("model.onnx") && answer == Answer::Map {
        list.push(how(
            "average precision, on a folder of images with their boxes in COCO's JSON, whose categories bear the labels' names (needs \
             Python with onnxruntime, numpy, pillow and pycocotools; lay images with transparency over white first)",
            AVERAGE_PRECISION,
        ));
    }
    if has("model.onnx") && answer == Answer::Classes {
        list.push(how(
            "accuracy and confusion matrix, on a folder that holds one folder a label (needs Python with onnxruntime, numpy and pillow; \
             lay images with transparency over white first)",
            ACCURACY,
        ));
    }
    list.push(how(
        "which files were in a split: compare with the split's `sha256`",
        "sha256sum FOLDER/*/* | cut -c1-64 | LC_ALL=C sort | sha256sum",
    ));
    list
}

/// Measures average precision with nothing of ours.
const AVERAGE_PRECISION: &str = r#"python3 - FOLDER BOXES.json <<'END'
import json, pathlib, sys
import numpy, onnxruntime
from PIL import Image, ImageOps
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
truth = COCO(sys.argv[2])
numbers = {kind["name"]: kind["id"] for kind in truth.dataset["categories"]}
found = []
for picture in truth.dataset["images"]:
    image = ImageOps.exif_transpose(Image.open(pathlib.Path(sys.argv[1], picture["file_name"]))).convert("RGB")
    answer = session.run(["boxes", "scores", "classes"], {"image": numpy.asarray(image)[None]})
    for box, score, kind in zip(*(part[0] for part in answer)):
        left, top, right, bottom = (float(side) for side in box * (image.size * 2))
        if score > 0:
            found.append({"image_id": picture["id"], "category_id": numbers[labels[kind]], "score": float(score),
                          "bbox": [left, top, right - left, bottom - top]})
measure = COCOeval(truth, truth.loadRes(found), "bbox")
measure.params.catIds = [numbers[label] for label in labels]
measure.evaluate()
measure.accumulate()
measure.summarize()
END"#;

/// Measures accuracy with nothing of ours.
const ACCURACY: &str = r#"python3 - FOLDER <<'END'
import json, pathlib, sys
import numpy, onnxruntime
from PIL import Image, ImageOps
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
confusion = numpy.zeros((len(labels), len(labels)), int)
for truth, label in enumerate(labels):
    for path in sorted(pathlib.Path(sys.argv[1], label).iterdir()):
        image = numpy.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        answer = session.run(None, {"image": image[None]})[0][0].argmax()
        confusion[truth, answer] += 1
print(labels, confusion, sep="\n")
print("accuracy", confusion.trace() / confusion.sum())
END"#;
