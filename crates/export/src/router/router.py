#!/usr/bin/env python3
"""Runs the specialists of a fleet together: for each picture, one probability a class.

    python3 router.py PICTURE...

prints one JSON object a picture, a line each. Needs onnxruntime, numpy and pillow, nothing else. From Python:

    from router import Fleet
    Fleet("folder of fleet.json").ask("picture.jpg")   # {"fire": 0.98, "smoke": 0.03}

Each specialist answers for its own class alone, so the probabilities of a picture need not sum to 1: none, one or
several classes may be in it.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy
import onnxruntime
from PIL import Image, ImageOps


class Specialist:
    """One network and the class it finds."""

    def __init__(self, folder, entry):
        self.name = entry["class"]
        self.threshold = entry["threshold"]
        path = folder / entry["path"]
        model = path.read_bytes()
        if hashlib.sha256(model).hexdigest() != entry["sha256"]:
            raise ValueError(f"{path} is not the file that fleet.json names: its SHA-256 differs; unpack the zip again")
        options = onnxruntime.SessionOptions()
        # Networks of some kilobytes gain nothing by threads.
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.output = entry["labels"].index(self.name)

    def ask(self, image):
        """The probability that the class is in the image, uint8 [H, W, 3] RGB."""
        return float(self.session.run(["probabilities"], {"image": image[None]})[0][0][self.output])


class Fleet:
    """All specialists of the folder that `fleet.json` is in."""

    def __init__(self, folder):
        folder = Path(folder)
        manifest = json.loads((folder / "fleet.json").read_text(encoding="utf-8"))
        if manifest.get("version") != 1:
            raise ValueError(f"fleet.json has version {manifest.get('version')!r}; this router reads version 1")
        self.specialists = [Specialist(folder, entry) for entry in manifest["specialists"]]

    def ask(self, picture):
        """Class to probability, for a path, an open file or a PIL image."""
        if not isinstance(picture, Image.Image):
            picture = Image.open(picture)
        image = numpy.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
        return {specialist.name: specialist.ask(image) for specialist in self.specialists}

    def found(self, probabilities):
        """The classes whose probability reaches their specialist's threshold."""
        return [s.name for s in self.specialists if probabilities[s.name] >= s.threshold]


def main():
    parser = argparse.ArgumentParser(description="Asks every specialist of the fleet about pictures.")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE")
    parser.add_argument("--fleet", default=Path(__file__).resolve().parent, help="the folder of fleet.json")
    arguments = parser.parse_args()
    try:
        fleet = Fleet(arguments.fleet)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"router.py: the fleet cannot be read: {error}")
    failed = False
    for path in arguments.pictures:
        try:
            probabilities = fleet.ask(path)
        except (OSError, ValueError) as error:
            print(f"router.py: {path}: {error}", file=sys.stderr)
            failed = True
            continue
        answer = {"picture": path, "probabilities": probabilities, "found": fleet.found(probabilities)}
        print(json.dumps(answer, ensure_ascii=False))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
