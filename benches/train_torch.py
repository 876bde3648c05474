"""Trains the networks of `kindling bench train` in PyTorch and prints one row like its own.

Run by `kindling bench train --torch PYTHON`; needs torch only.
"""

import argparse
import json
import resource
import time

import torch
from torch import nn


def conv(inputs, outputs, kernel, stride, group=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=group, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def head(channels, classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def plain():
    layers, channels = [], 3
    for out, stride in [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1)]:
        layers.append(conv(channels, out, 3, stride))
        channels = out
    return nn.Sequential(*layers, head(channels, 10)), 32, 10


def separable(channels, layers):
    made = []
    for out, stride in layers:
        made += [conv(channels, channels, 3, stride, channels), conv(channels, out, 1, 1)]
        channels = out
    return made


def depthwise():
    layers = separable(16, [(32, 1), (64, 2), (64, 1), (128, 2), (128, 1)])
    return nn.Sequential(conv(3, 16, 3, 2), *layers, head(128, 10)), 32, 10


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.a = conv(inputs, outputs, 3, stride)
        self.b = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        self.short = nn.Identity() if stride == 1 else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x):
        return torch.relu(self.b(self.a(x)) + self.short(x))


def resnet8():
    blocks = [Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)]
    return nn.Sequential(conv(3, 16, 3, 1), *blocks, head(64, 10)), 32, 10


def mobilenet():
    layers = separable(
        8,
        [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)] + [(128, 1)] * 5 + [(256, 2), (256, 1)],
    )
    return nn.Sequential(conv(3, 8, 3, 2), *layers, head(256, 2)), 96, 2


def ds_cnn():
    return nn.Sequential(conv(3, 64, 7, 2), *separable(64, [(64, 1)] * 4), head(64, 12)), 22, 12


NETWORKS = {"plain": plain, "depthwise": depthwise, "resnet8": resnet8, "mobilenet-0.25": mobilenet, "ds-cnn": ds_cnn}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--channels-last", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    network, size, classes = NETWORKS[given.network]()
    network.train()
    images = torch.rand(given.batch, 3, size, size) * 2 - 1
    if given.channels_last:
        network, images = network.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    labels = torch.arange(given.batch) % classes
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    loss_of = nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    step()
    begin = time.perf_counter()
    for _ in range(given.steps):
        step()
    seconds = time.perf_counter() - begin
    print(
        json.dumps(
            {
                "network": given.network,
                "device": f"torch {torch.__version__.split('+')[0]}" + (" nhwc" if given.channels_last else ""),
                "threads": given.threads,
                "images_per_s": given.batch * given.steps / seconds,
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
