"""A network as PyTorch has it, from the description that `diaret bench` writes: layers as data, and files of parameters.

Built as an `fx` graph, whose code is that of a module written by hand: one call a layer and nothing between. Batch norm is
folded into the convolutions, ReLUs are in place, kernels need no gradients; or, where it is trained, batch norm is live and
everything that the files have needs gradients.
"""

import json
import pathlib

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Preprocess(nn.Module):
    """From RGB in [0, 1] to what the first convolution expects."""

    def __init__(self, source, scale, offset):
        super().__init__()
        self.source = source
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, x):
        x = x.flip(1) if self.source == [2, 1, 0] else x
        return x * self.scale + self.offset


def parameters(files):
    tensors = {}
    for file in files:
        for name, values in load_file(file).items():
            tensors.setdefault(name, torch.from_numpy(values.astype(np.float32)))  # The first file that has one counts.
    return tensors


def padding(window):
    sides = window["padding"]
    assert sides["top"] == sides["bottom"] and sides["left"] == sides["right"], f"PyTorch pads evenly, not {sides}"
    return sides["top"], sides["left"]


def convolution(tensors, name, window, channels):
    kernel = tensors[f"{name}/kernel"].permute(3, 2, 0, 1).contiguous()
    bias = tensors.get(f"{name}/bias")
    layer = nn.Conv2d(channels, kernel.shape[0], window["kernel"], window["stride"], padding(window), bias=bias is not None)
    layer.weight.data = kernel
    if bias is not None:
        layer.bias.data = bias
    return layer.eval()


def batch_norm(tensors, name, channels, epsilon):
    layer = nn.BatchNorm2d(channels, epsilon)
    gamma = tensors.get(f"{name}/gamma")
    layer.weight.data = torch.ones(channels) if gamma is None else gamma
    layer.weight.requires_grad_(gamma is not None)
    layer.bias.data = tensors[f"{name}/beta"]
    layer.running_mean, layer.running_var = tensors[f"{name}/moving_mean"], tensors[f"{name}/moving_variance"]
    return layer.eval()


def dense(tensors, name):
    kernel = tensors[f"{name}/kernel"].T.contiguous()
    layer = nn.Linear(kernel.shape[1], kernel.shape[0])
    layer.weight.data, layer.bias.data = kernel, tensors[f"{name}/bias"]
    return layer


def build(description, trains=False):
    """The module, for images [rows, 3, side, side] of RGB in [0, 1]."""
    description = json.loads(pathlib.Path(description).read_text())
    tensors, nodes = parameters(description["files"]), description["nodes"]
    graph, modules, values = fx.Graph(), {}, []

    def call(layer, x):
        modules[f"layer{len(modules)}"] = layer
        return graph.call_module(f"layer{len(modules) - 1}", (x,))

    for node in nodes:
        name, inputs = node["name"], [values[index] for index in node["inputs"]]
        (kind, of), = node["op"].items() if isinstance(node["op"], dict) else [(node["op"], None)]
        channels = nodes[node["inputs"][0]]["shape"][2] if inputs else 3
        match kind:
            case "Input":
                value = call(Preprocess(**description["preprocessing"]), graph.placeholder("image"))
            case "Conv2d":
                value = call(convolution(tensors, name, of["window"], channels), inputs[0])
            case "BatchNorm":
                norm = batch_norm(tensors, name, channels, of["epsilon"])
                if trains:
                    value = call(norm, inputs[0])
                else:
                    value, before = inputs[0], inputs[0].target
                    modules[before] = fuse_conv_bn_eval(modules[before], norm)
            case "Relu":
                value = call(nn.ReLU(inplace=True), inputs[0])
            case "MaxPool":
                value = call(nn.MaxPool2d(of["kernel"], of["stride"], padding(of)), inputs[0])
            case "AvgPool":
                window = of["window"]
                pool = nn.AvgPool2d(window["kernel"], window["stride"], padding(window), count_include_pad=of["count_padding"])
                value = call(pool, inputs[0])
            case "Concat":
                value = graph.call_function(torch.cat, (inputs, 1))
            case "ScaledAdd":
                value = graph.call_function(torch.add, tuple(inputs), {"alpha": of["scale"]})
            case "GlobalAvgPool":
                value = call(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), inputs[0])
            case "Dense":
                value = call(dense(tensors, name), inputs[0])
            case _:
                raise ValueError(f"a layer that is not known: {kind}")
        values.append(value)
    graph.output(values[-1])
    module = fx.GraphModule(modules, graph)
    return module.train() if trains else module.requires_grad_(False).eval()
