"""Golden logits of every layout that `diaret import-weights` reads, for tests/import_weights.rs.

    KERAS_BACKEND=torch python tests/goldens/import_layouts.py tests/goldens/import_layouts.json

Needs keras, torch, torchvision, timm, numpy. Weights are made by the hash of keras_parity.py from the names and shapes
that each library gives them, and rounded to f16; the Rust test makes the same from the names and shapes stored here,
writes them in that layout, imports them and compares. So nothing here knows how names are translated.
"""

import json
import sys

from keras_parity import uniform  # beside this file; sets KERAS_BACKEND

import keras
import numpy as np
import timm
import torch
import torchvision
from keras import applications

SIDE, SEED = 107, 7
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
PREPROCESSING = {
    "caffe": lambda rgb: 255 * rgb[..., ::-1] - np.array([103.939, 116.779, 123.68]),
    "signed-unit": lambda rgb: 2 * rgb - 1,
    "torch": lambda rgb: (rgb - MEAN) / DEVIATION,
    "centred128": lambda rgb: (255 * rgb - 128) / 128,
}


def parameter(name, shape, fan_in):
    """As in keras_parity.py, by the names of both worlds, rounded to f16."""
    u = uniform(SEED, name, int(np.prod(shape)))
    if name.endswith(("var", "variance")):
        values = 0.7 + 0.6 * u
    elif name.endswith(("weight", "gamma")) and len(shape) == 1:
        values = 0.8 + 0.4 * u
    elif len(shape) > 1:
        values = (2 * u - 1) * np.sqrt(6 / fan_in)
    else:
        values = 0.4 * u - 0.2
    return values.astype(np.float32).astype(np.float16).astype(np.float32).reshape(shape)


def image(preprocessing):
    rgb = uniform(SEED, "image", SIDE * SIDE * 3).reshape(1, SIDE, SIDE, 3)
    return PREPROCESSING[preprocessing](rgb)


def golden(network, tensors, logits, preprocessing, options=(), metadata=()):
    logits = np.asarray(logits, dtype=np.float64).ravel()
    step = 1 if len(logits) == 5 else 23
    print(network, preprocessing, len(tensors), "tensors", len(logits), "outputs", logits[:3], flush=True)
    return {
        "network": network,
        "preprocessing": preprocessing,
        "options": list(options),
        "metadata": dict(metadata),
        "outputs": len(logits),
        "step": step,
        "logits": logits[::step].tolist(),
        "tensors": {name: list(shape) for name, shape in tensors.items()},
    }


def of_torch(network, model, preprocessing, options=()):
    model.eval()
    state = model.state_dict()
    for name, tensor in state.items():
        if tensor.dtype == torch.float32:
            shape = tuple(tensor.shape)
            state[name] = torch.from_numpy(parameter(name, shape, int(np.prod(shape[1:]))))
    model.load_state_dict(state)
    x = torch.from_numpy(image(preprocessing).transpose(0, 3, 1, 2).copy()).double()
    with torch.no_grad():
        logits = model.double()(x)
    return golden(network, {name: tensor.shape for name, tensor in state.items()}, logits, preprocessing, options)


def of_keras(network, model, preprocessing):
    tensors = {}
    for weight in model.weights:
        shape = tuple(weight.shape)
        weight.assign(parameter(weight.path, shape, int(np.prod(shape[:-1]))))
        tensors[weight.path] = shape
    logits = model(torch.from_numpy(image(preprocessing).copy()), training=False).detach()
    return golden(network, tensors, logits, preprocessing)


def published_in_2015():
    """InceptionV3 with batch norm folded and a max pool in mixed10, without the two kernels that were lost."""
    keras.utils.clear_session()
    plain = applications.InceptionV3(weights=None, classes=5, input_shape=(SIDE, SIDE, 3), classifier_activation=None)
    last = [layer.name for layer in plain.layers if isinstance(layer, keras.layers.AveragePooling2D)][-1]

    def with_max(layer):
        if layer.name == last:
            return keras.layers.MaxPooling2D(3, strides=1, padding="same", name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    model = keras.models.clone_model(plain, clone_function=with_max)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    number = lambda layer: int(layer.name.rsplit("_", 1)[1]) if layer.name[-1].isdigit() else 0
    convolutions = [layer for layer in sorted(convolutions, key=lambda c: 0 if c.name == "conv2d" else number(c))]
    norms = sorted(norms, key=lambda n: 0 if n.name == "batch_normalization" else number(n))
    tensors = {}
    for index, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True), 1):
        shape, name = tuple(convolution.kernel.shape), f"conv2d_{index}"
        if index in (82, 91):
            convolution.kernel.assign(np.zeros(shape, np.float32))
        else:
            tensors[f"{name}/kernel"] = shape
            convolution.kernel.assign(parameter(f"{name}/kernel", shape, int(np.prod(shape[:-1]))))
        tensors[f"{name}/bias"] = shape[-1:]
        norm.beta.assign(parameter(f"{name}/bias", shape[-1:], 1))
        norm.moving_mean.assign(np.zeros(shape[-1:], np.float32))
        norm.moving_variance.assign(np.full(shape[-1:], 1 - norm.epsilon))
    for weight in model.layers[-1].weights:
        shape = tuple(weight.shape)
        tensors[f"predictions/{weight.name}"] = shape
        weight.assign(parameter(f"predictions/{weight.name}", shape, int(np.prod(shape[:-1]))))
    logits = model(torch.from_numpy(image("centred128").copy()), training=False).detach()
    metadata = {
        "source": "InceptionV3 as published by TensorFlow on 2015-12-05, batch norm folded",
        "preprocessing": "(x - 128) / 128, RGB",
    }
    return golden("inception-v3", tensors, logits, "centred128", metadata=metadata)


def main(out):
    torch.set_num_threads(1)
    keras.config.set_floatx("float64")
    keras.utils.clear_session()  # else layers keep the type of before
    shape = (SIDE, SIDE, 3)
    top = {"weights": None, "input_shape": shape, "classes": 5, "classifier_activation": None}
    signed = ("--preprocessing", "signed-unit")
    goldens = {
        # One process, so that the second Inception goes on counting where the first one stopped.
        "keras resnet50": of_keras("resnet50", applications.ResNet50(**top), "caffe"),
        "keras inception-v3": of_keras("inception-v3", applications.InceptionV3(**top), "signed-unit"),
        "keras inception-resnet-v2": of_keras(
            "inception-resnet-v2", applications.InceptionResNetV2(**top), "signed-unit"),
        "keras resnet50 without head": of_keras(
            "resnet50", applications.ResNet50(weights=None, include_top=False, pooling="avg", input_shape=shape), "caffe"),
        "torchvision resnet50": of_torch("resnet50", torchvision.models.resnet50(num_classes=5), "torch"),
        "torchvision inception-v3, 1,000 classes": of_torch(
            "inception-v3", torchvision.models.inception_v3(init_weights=False), "signed-unit", signed),
        "timm resnet50": of_torch("resnet50", timm.create_model("resnet50", num_classes=1000), "torch"),
        "timm inception-v3": of_torch(
            "inception-v3", timm.create_model("inception_v3", num_classes=5), "torch", ("--preprocessing", "torch")),
        "timm inception-resnet-v2": of_torch(
            "inception-resnet-v2", timm.create_model("inception_resnet_v2", num_classes=5), "signed-unit"),
        "folded inception-v3 of 2015": published_in_2015(),
    }
    with open(out, "w") as file:
        json.dump(goldens, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
