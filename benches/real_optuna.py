"""Searches Kindling's families with Optuna's TPE and Hyperband, trained with PyTorch, on a folder of pictures.

    python benches/real_optuna.py DIR --seconds 600 --max-weights-bytes 200000 --seed 0

DIR has one folder a class, or a labels.csv (path, label, split). Without splits an example's is
`int(sha256(file bytes)) % 100`: below 20 test, below 35 validation, else training. Prints each new best by
validation with its test accuracy, then a JSON line. Needs optuna, torch, pillow and numpy.
"""

import argparse
import csv
import hashlib
import json
import math
import pathlib
import time

import numpy
import optuna
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

SIDES = [24, 32, 48, 64, 96]
EPOCHS = 40


def read(folder):
    root = pathlib.Path(folder)
    rows = []
    if (root / "labels.csv").exists():
        with open(root / "labels.csv", newline="") as file:
            rows = [(root / r["path"], r["label"], r.get("split")) for r in csv.DictReader(file)]
    else:
        ends = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
        for kind in sorted(p for p in root.iterdir() if p.is_dir()):
            rows += [(p, kind.name, None) for p in sorted(kind.iterdir()) if p.suffix.lower() in ends]
    classes = sorted({label for _, label, _ in rows})
    parts = {"train": [], "validation": [], "test": []}
    for path, label, split in rows:
        if not split:
            place = int(hashlib.sha256(path.read_bytes()).hexdigest(), 16) % 100
            split = "test" if place < 20 else "validation" if place < 35 else "train"
        parts[split].append((path, classes.index(label)))
    return classes, parts


class Data:
    """Every picture at each side that is asked for, as bytes."""

    def __init__(self, parts):
        self.pictures = {k: [Image.open(p).convert("RGB") for p, _ in v] for k, v in parts.items()}
        self.labels = {k: torch.tensor([label for _, label in v]) for k, v in parts.items()}
        self.kept = {}

    def at(self, part, side):
        if (part, side) not in self.kept:
            sized = [numpy.asarray(p.resize((side, side), Image.BILINEAR)) for p in self.pictures[part]]
            self.kept[part, side] = torch.from_numpy(numpy.stack(sized)).permute(0, 3, 1, 2).contiguous()
        return self.kept[part, side]


def normal(images):
    return (images.float() / 255 - 0.45) / 0.25


def vary(images, crop, colour, flip):
    count = len(images)
    angle = torch.zeros(count, 2, 3)
    zoom = 1 + crop * (torch.rand(count) * 1.5 - 1)
    stretch = 1 + 0.3 * crop * (torch.rand(count) * 2 - 1)
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0) if flip else torch.ones(count)
    angle[:, 0, 0] = zoom * stretch * mirror
    angle[:, 1, 1] = zoom / stretch
    angle[:, :, 2] = (torch.rand(count, 2) * 2 - 1) * crop
    grid = functional.affine_grid(angle, images.shape, align_corners=False)
    images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain = 1 + 0.4 * colour * (torch.rand(count, 1, 1, 1) * 2 - 1) + 0.1 * colour * (torch.rand(count, 3, 1, 1) * 2 - 1)
    return images * gain + 0.4 * colour * (torch.rand(count, 1, 1, 1) * 2 - 1)


def unit(inside, out, kernel, stride, groups=1, active=True):
    layers = [nn.Conv2d(inside, out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(out)]
    return nn.Sequential(*layers, *([nn.ReLU()] if active else []))


class Residual(nn.Module):
    def __init__(self, inside, out, stride):
        super().__init__()
        self.a = unit(inside, out, 3, stride)
        self.b = unit(out, out, 3, 1, active=False)
        self.short = nn.Identity() if stride == 1 and inside == out else unit(inside, out, 1, stride, active=False)

    def forward(self, x):
        return functional.relu(self.b(self.a(x)) + self.short(x))


class Inverted(nn.Module):
    def __init__(self, inside, out, kernel, stride, expansion):
        super().__init__()
        inner = inside * expansion
        first = [unit(inside, inner, 1, 1)] if expansion > 1 else []
        self.body = nn.Sequential(
            *first, unit(inner, inner, kernel, stride, groups=inner), unit(inner, out, 1, 1, active=expansion == 1)
        )
        self.same = stride == 1 and inside == out and expansion > 1

    def forward(self, x):
        return x + self.body(x) if self.same else self.body(x)


def build(trial, classes):
    family = trial.suggest_categorical("family", ["plain", "residual", "separable"])
    width = trial.suggest_int(f"{family}.width", 8, 48 if family == "separable" else 32, log=True)
    growth = trial.suggest_float(f"{family}.growth", 1.25, 2.0)
    stages = trial.suggest_int(f"{family}.stages", 2, 4)
    depth = trial.suggest_int(f"{family}.depth", 1, 3 if family == "separable" else 2)
    kernel = trial.suggest_categorical(f"{family}.kernel", [3, 5]) if family != "residual" else 3
    expansion = trial.suggest_categorical("separable.expansion", [1, 2, 3, 4]) if family == "separable" else 1
    stem = trial.suggest_categorical("stem_stride", [2, 4])
    widths = [max(1, round(width * growth**i / 4)) * 4 for i in range(stages)]
    layers, inside = [unit(3, widths[0], stem + 1, stem)], widths[0]
    for stage, out in enumerate(widths):
        for block in range(depth):
            stride = 2 if stage and not block else 1
            if family == "plain":
                if stage or block:
                    layers.append(unit(inside, out, kernel, stride))
            elif family == "residual":
                layers.append(Residual(inside, out, stride))
            else:
                layers.append(Inverted(inside, out, kernel, stride, expansion))
            inside = out
    dropout = nn.Dropout(trial.suggest_float("dropout", 0, 0.3))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), dropout, nn.Linear(inside, classes))


def deployed_bytes(net):
    """With normalisation folded into the convolutions."""
    total = 0
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            total += layer.weight.numel() + layer.out_channels
        elif isinstance(layer, nn.Linear):
            total += layer.weight.numel() + layer.out_features
    return 4 * total


@torch.no_grad()
def accuracy(net, images, labels):
    net.eval()
    answers = torch.cat([net(normal(part)).argmax(1) for part in images.split(256)])
    return (answers == labels).float().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--max-weights-bytes", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    start = time.monotonic()
    classes, parts = read(given.folder)
    data = Data(parts)
    labels = data.labels
    sampler = optuna.samplers.TPESampler(seed=given.seed, multivariate=True, group=True)
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=3)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    left = lambda: given.seconds - (time.monotonic() - start)
    found, trials = [], 0
    while left() > 0:
        trial = study.ask()
        side = trial.suggest_categorical("resolution", SIDES)
        net = build(trial, len(classes))
        rate = trial.suggest_float("learning_rate", 5e-4, 3e-2, log=True)
        decay = trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True)
        batch = trial.suggest_categorical("batch_size", [16, 32, 64, 128])
        smooth = trial.suggest_float("label_smoothing", 0, 0.15)
        crop = trial.suggest_float("crop", 0, 0.4)
        colour = trial.suggest_float("colour", 0, 0.6)
        size = deployed_bytes(net)
        if size > given.max_weights_bytes:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        trials += 1
        images = data.at("train", side)
        optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
        steps = max(1, len(images) // batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=EPOCHS * steps, pct_start=0.15)
        value, state = 0.0, None
        for epoch in range(1, EPOCHS + 1):
            net.train()
            for chosen in torch.randperm(len(images))[: steps * batch].split(batch):
                if left() <= 0:
                    break
                x = vary(normal(images[chosen]), crop, colour, True)
                loss = functional.cross_entropy(net(x), labels["train"][chosen], label_smoothing=smooth)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
            if left() <= 0:
                state = optuna.trial.TrialState.PRUNED
                break
            value = accuracy(net, data.at("validation", side), labels["validation"])
            if not found or value > found[-1]["validation"]:
                test = accuracy(net, data.at("test", side), labels["test"])
                seconds = time.monotonic() - start
                entry = {"seconds": seconds, "validation": value, "test": test, "bytes": size, "trial": trials}
                found.append(entry)
                print(f"{seconds:6.0f} s  validation {value:.4f}  test {test:.4f}  {size} bytes  trial {trials}", flush=True)
            trial.report(value, epoch)
            if trial.should_prune():
                state = optuna.trial.TrialState.PRUNED
                break
        study.tell(trial, value if state is None and math.isfinite(value) else None, state=state)
    print(json.dumps({"seed": given.seed, "trials": trials, "found": found}))


if __name__ == "__main__":
    main()
