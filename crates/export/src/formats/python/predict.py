#!/usr/bin/env python3
"""Answers for pictures with model.onnx, which lies beside this file.

    python3 predict.py PICTURE...              the answer for each, best first
    python3 predict.py --folder FOLDER         accuracy on FOLDER/<label>/<picture>
    python3 predict.py --model model.int8.onnx PICTURE...

A model that finds objects says one line an object: its label, its score, and its box as left, top, right, bottom in pixels.

    python3 predict.py --at-least 0.5 PICTURE...         objects with at least this score
    python3 predict.py --draw OUT.png PICTURE            the picture with its boxes

Needs: pip install onnxruntime numpy pillow. Exit status: 0 all answered, 1 some could not be read, 2 wrong use.
"""
import argparse
import json
import pathlib
import sys

try:
    import numpy
    import onnxruntime
    from PIL import Image, ImageDraw, ImageOps
except ImportError as error:
    sys.exit(f"{error}; run: pip install onnxruntime numpy pillow")


def upright(picture):
    """A path, an open file or a PIL image as RGB, turned as its camera says, over white where it is transparent."""
    if not isinstance(picture, Image.Image):
        picture = Image.open(picture)
    picture = ImageOps.exif_transpose(picture).convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(ground, picture).convert("RGB")


class Model:
    """One ONNX file made by Kindling: any RGB picture in, a probability for each label or the objects in it out."""

    def __init__(self, path):
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        facts = self.session.get_modelmeta().custom_metadata_map
        self.labels = json.loads(facts["labels"])
        # A lesser probability is likely for a picture of none of the labels.
        self.unknown_below = float(facts.get("unknown_below", 0))
        # A label, and from which probability on to say that it is there; None where the task names none.
        self.decision = json.loads(facts.get("decision", "null"))
        self.finds_objects = "boxes" in [output.name for output in self.session.get_outputs()]
        # The score from which on to say that an object is there.
        self.at_least = float(facts.get("at_least", 0.3))
        self.at_most = int(facts.get("at_most", 100))

    def predict(self, picture):
        """The probabilities, in the order of `labels`, of a path, an open file or a PIL image."""
        return self.session.run(["probabilities"], {"image": numpy.asarray(upright(picture))[None]})[0][0]

    def detect(self, picture, at_least=None):
        """The objects in a path, an open file or a PIL image, the surest first: (label, score, box), the box as left, top,
        right and bottom in pixels of the picture as it is seen."""
        picture = upright(picture)
        outputs = self.session.run(["boxes", "scores", "classes"], {"image": numpy.asarray(picture)[None]})
        at_least = self.at_least if at_least is None else at_least
        objects = [
            (self.labels[number], float(score), tuple(float(side) for side in box * (picture.size * 2)))
            for box, score, number in zip(*(output[0] for output in outputs))
            if score > 0 and score >= at_least
        ]
        return objects[: self.at_most]


COLOURS = ["#e4572e", "#1f77d0", "#2e9e5b", "#b14fc5", "#e0a100", "#00a3a3", "#d6336c", "#6b7280"]


def draw(picture, objects, labels):
    """The picture with a frame around each object."""
    picture = upright(picture)
    pen = ImageDraw.Draw(picture)
    width = max(2, max(picture.size) // 300)
    # The surest last, so that it lies on top.
    for label, score, box in reversed(objects):
        colour = COLOURS[labels.index(label) % len(COLOURS)]
        pen.rectangle(box, outline=colour, width=width)
        words = f"{label} {score:.0%}".encode("latin-1", "replace").decode("latin-1")
        left, top = max(box[0], 0), max(box[1] - 12, 0)
        pen.rectangle(pen.textbbox((left + 2, top), words), fill=colour)
        pen.text((left + 2, top), words, fill="white")
    return picture


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="*", type=pathlib.Path, help="pictures to answer for")
    parser.add_argument("--folder", type=pathlib.Path, help="measure accuracy: one folder a label")
    parser.add_argument("--model", type=pathlib.Path, default=here / "model.onnx")
    parser.add_argument("--at-least", type=float, metavar="SCORE", help="find objects with at least this score, 0 to 1")
    parser.add_argument("--draw", type=pathlib.Path, metavar="OUT", help="write the picture with its objects' boxes")
    arguments = parser.parse_args()
    if bool(arguments.pictures) == bool(arguments.folder):
        parser.error("give pictures, or --folder")
    if arguments.draw and len(arguments.pictures) != 1:
        parser.error("--draw draws on one picture; give one")
    model = Model(arguments.model)
    if model.finds_objects:
        if arguments.folder:
            parser.error("this model finds objects, and a folder a label does not say where they are; give pictures")
        return find(model, arguments)
    if arguments.draw or arguments.at_least is not None:
        parser.error("this model tells classes apart and finds no objects; leave out --draw and --at-least")
    return classify(model, arguments, parser)


def find(model, arguments):
    failed = 0
    for picture in arguments.pictures:
        try:
            objects = model.detect(picture, arguments.at_least)
            if arguments.draw:
                draw(picture, objects, model.labels).save(arguments.draw)
        except (OSError, ValueError) as error:
            print(f"{picture}: {error}", file=sys.stderr)
            failed += 1
            continue
        for label, score, box in objects:
            print(f"{picture}: {label} {score:.1%} " + " ".join(f"{side:.1f}" for side in box))
        if not objects:
            print(f"{picture}: nothing found")
    return 1 if failed else 0


def classify(model, arguments, parser):
    failed, right, asked = 0, 0, 0
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
