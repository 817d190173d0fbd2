"""Integrated Gradients of the shipped ResNet-50 by Captum, for tests/agreement_with_captum.rs.

    python tests/goldens/integrated_gradients.py weights assets/samples/IDRiD_048.jpg tests/goldens/integrated_gradients.safetensors

Needs torch, torchvision, captum, numpy, pillow, safetensors. Reads the weights that the program reads into torchvision's
modules, with the stride of Keras. Stored: the input as bytes [SIDE, SIDE, 3], the map (logit of grade 2 from a black
baseline, Captum's Gauss-Legendre rule with 300 nodes) as f16 divided by its scale, F at both ends, and the weights' hash.
"""

import hashlib
import pathlib
import sys
import tomllib

import numpy as np
import torch
import torchvision
from captum.attr import IntegratedGradients
from PIL import Image
from safetensors.numpy import load_file, save_file

SIDE, NODES, GRADE = 107, 300, 2
MEAN_BGR = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)


def read(folder):
    """Tensors, entry of the manifest, and what identifies the weights."""
    entry = tomllib.loads((folder / "manifest.toml").read_text())["networks"]["resnet50"]
    variant = entry["variant"]
    assert (variant["bottleneck_stride"], variant["preprocessing"]) == ("first1x1", "caffe"), variant
    tensors, hashes = {}, []
    for part in entry["files"]:
        data = (folder / part["file"]).read_bytes()
        hashes.append(hashlib.sha256(data).hexdigest())
        assert hashes[-1] == part["sha256"], part
        for name, values in load_file(folder / part["file"]).items():
            tensors.setdefault(name, values.astype(np.float32))  # The first file that has a tensor counts.
    identity = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    return tensors, variant["epsilon"], identity


def network(tensors, epsilon):
    model = torchvision.models.resnet50(num_classes=5)

    def put(convolution, norm, layer, norm_layer):
        convolution.weight.data = torch.tensor(tensors[f"{layer}/kernel"].transpose(3, 2, 0, 1).copy())
        channels = convolution.out_channels
        bias = torch.tensor(tensors.get(f"{layer}/bias", np.zeros(channels, np.float32)))
        if f"{norm_layer}/moving_mean" in tensors:
            get = lambda name, default: torch.tensor(tensors.get(f"{norm_layer}/{name}", np.full(channels, default, np.float32)))
            norm.weight.data, norm.bias.data = get("gamma", 1), get("beta", 0)
            norm.running_mean, norm.running_var = get("moving_mean", 0) - bias, get("moving_variance", 1)
            norm.eps = epsilon
        else:  # Folded: the norm only adds the bias.
            norm.weight.data, norm.bias.data = torch.ones(channels), bias
            norm.running_mean, norm.running_var, norm.eps = torch.zeros(channels), torch.ones(channels), 0.0

    put(model.conv1, model.bn1, "conv1_conv", "conv1_bn")
    for stage in range(2, 6):
        for index, block in enumerate(getattr(model, f"layer{stage - 1}"), 1):
            name = f"conv{stage}_block{index}"
            block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)
            for layer in (1, 2, 3):
                put(getattr(block, f"conv{layer}"), getattr(block, f"bn{layer}"), f"{name}_{layer}_conv", f"{name}_{layer}_bn")
            if block.downsample is not None:
                put(block.downsample[0], block.downsample[1], f"{name}_0_conv", f"{name}_0_bn")
    dense = next(name.split("/")[0] for name in tensors if tensors[name].ndim == 2)
    model.fc.weight.data = torch.tensor(tensors[f"{dense}/kernel"].T.copy())
    model.fc.bias.data = torch.tensor(tensors[f"{dense}/bias"])
    return model.eval()


def main(weights, photograph, out):
    tensors, epsilon, identity = read(pathlib.Path(weights))
    model = network(tensors, epsilon)
    image = Image.open(photograph).convert("RGB")
    left = (image.width - image.height) // 2
    square = image.crop((left, 0, left + image.height, image.height)).resize((SIDE, SIDE), Image.Resampling.BOX)
    pixels = np.asarray(square, np.uint8)
    rgb = torch.tensor(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]
    function = lambda x: model(x.flip(1) * 255 - MEAN_BGR)
    explain = IntegratedGradients(function, multiply_by_inputs=True)
    baseline = torch.zeros_like(rgb)
    map_ = explain.attribute(rgb, baseline, target=GRADE, n_steps=NODES, method="gausslegendre", internal_batch_size=10)
    map_ = map_[0].permute(1, 2, 0).detach().numpy().astype(np.float64)
    with torch.no_grad():
        ends = [float(function(x)[0, GRADE]) for x in (rgb, baseline)]
    scale = float(np.abs(map_).max())
    golden = {
        "input": pixels,
        "attribution": np.ascontiguousarray((map_ / scale).astype(np.float16)),
        "scale": np.array([scale], np.float32),
        "f": np.array(ends, np.float32),
    }
    save_file(golden, out, metadata={"weights": identity})
    print(f"F {ends}, mass {np.abs(map_).sum():.3f}, sum {map_.sum():.4f}, weights {identity}")


if __name__ == "__main__":
    main(*sys.argv[1:])
