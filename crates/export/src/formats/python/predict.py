#!/usr/bin/env python3
"""Answers for pictures with model.onnx, which lies beside this file.

    python3 predict.py PICTURE...              the answer for each, best first
    python3 predict.py --folder FOLDER         accuracy on FOLDER/<label>/<picture>
    python3 predict.py --model model.int8.onnx PICTURE...

Needs: pip install onnxruntime numpy pillow. Exit status: 0 all answered, 1 some could not be read, 2 wrong use.
"""
import argparse
import json
import pathlib
import sys

try:
    import numpy
    import onnxruntime
    from PIL import Image, ImageOps
except ImportError as error:
    sys.exit(f"{error}; run: pip install onnxruntime numpy pillow")


class Model:
    """One ONNX file made by Kindling: any RGB picture in, a probability for each label out."""

    def __init__(self, path):
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        facts = self.session.get_modelmeta().custom_metadata_map
        self.labels = json.loads(facts["labels"])
        # A lesser probability is likely for a picture of none of the labels.
        self.unknown_below = float(facts.get("unknown_below", 0))
        # A label, and from which probability on to say that it is there; None where the task names none.
        self.decision = json.loads(facts.get("decision", "null"))

    def predict(self, picture):
        """The probabilities, in the order of `labels`, of a path, an open file or a PIL image."""
        if not isinstance(picture, Image.Image):
            picture = Image.open(picture)
        picture = ImageOps.exif_transpose(picture).convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        rgb = numpy.asarray(Image.alpha_composite(ground, picture).convert("RGB"))
        return self.session.run(None, {"image": rgb[None]})[0][0]


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="*", type=pathlib.Path, help="pictures to answer for")
    parser.add_argument("--folder", type=pathlib.Path, help="measure accuracy: one folder a label")
    parser.add_argument("--model", type=pathlib.Path, default=here / "model.onnx")
    arguments = parser.parse_args()
    if bool(arguments.pictures) == bool(arguments.folder):
        parser.error("give pictures, or --folder")
    model, failed, right, asked = Model(arguments.model), 0, 0, 0
    pictures = [(picture, None) for picture in arguments.pictures]
    if arguments.folder:
        for label in model.labels:
            if not (arguments.folder / label).is_dir():
                parser.error(f"{arguments.folder / label} is not a folder")
            pictures += [(picture, label) for picture in sorted((arguments.folder / label).iterdir())]
    for picture, truth in pictures:
        try:
            answer = model.predict(picture)
        except (OSError, ValueError) as error:
            print(f"{picture}: {error}", file=sys.stderr)
            failed += 1
            continue
        order = numpy.argsort(-answer)
        if truth is None:
            unsure = " (perhaps none of these)" if answer[order[0]] < model.unknown_below else ""
            if model.decision:
                label, at_least = model.decision
                unsure += f" -> {label}" if answer[model.labels.index(label)] >= at_least else f" -> no {label}"
            print(f"{picture}: " + ", ".join(f"{model.labels[at]} {answer[at]:.1%}" for at in order) + unsure)
        asked, right = asked + 1, right + (model.labels[order[0]] == truth)
    if arguments.folder and asked:
        print(f"accuracy {right / asked:.4f} on {asked} pictures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
