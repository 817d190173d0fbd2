"""Golden logits and input gradients of keras.applications, for tests/parity_with_keras.rs.

    KERAS_BACKEND=torch python tests/goldens/keras_parity.py tests/goldens/keras_parity.safetensors

Needs keras, torch, numpy, safetensors. Weights and images are made by an integer hash that the Rust test repeats, so
that only results are stored: per network and seed the five logits, and of the gradient of sum(COTANGENT * logits) by the
RGB image in [0, 1] its L2 norm and every STEP-th value; in float64. Of float32 only the logits are stored: its gradients
are no oracle, for a few ReLUs fall on the other side of zero (the script prints how far they are from float64).
"""

import os
import sys

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from keras import applications
from keras.src.backend.common import dtypes
from safetensors.numpy import save_file

# With torch, Keras narrows float64 to float32 inside batch norm, means and matrix products ("to be aligned with JAX's
# default behavior"); this lets its own code run in float64 throughout.
dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"

SIDE, CLASSES, STEP, SEEDS = 299, 5, 211, (1, 2)
COTANGENT = [1.0, -0.5, 0.25, -2.0, 1.5]
NETWORKS = {
    "resnet50": (applications.ResNet50, applications.resnet.preprocess_input),
    "inception-v3": (applications.InceptionV3, applications.inception_v3.preprocess_input),
    "inception-resnet-v2": (applications.InceptionResNetV2, applications.inception_resnet_v2.preprocess_input),
}


def mix(z):
    """The output function of splitmix64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(seed, name, count):
    """`count` multiples of 2^-24 in [0, 1), from FNV-1a of the name and splitmix64."""
    key = 0xCBF29CE484222325
    for byte in name.encode():
        key = ((key ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        start = mix(np.uint64(key) + np.uint64(seed))
        steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return (mix(start + steps) >> np.uint64(40)).astype(np.float64) / (1 << 24)


def parameter(seed, name, shape):
    """He-scaled kernels; gammas and variances near 1, so that batch norm does something; all representable in f32."""
    u = uniform(seed, name, int(np.prod(shape)))
    match name.rsplit("/", 1)[1]:
        case "kernel":
            values = (2 * u - 1) * np.sqrt(6 / np.prod(shape[:-1]))
        case "gamma":
            values = 0.8 + 0.4 * u
        case "moving_variance":
            values = 0.7 + 0.6 * u
        case _:
            values = 0.4 * u - 0.2
    return values.astype(np.float32).reshape(shape)


def canonical(path, first):
    """Keras counts unnamed layers from `conv2d` on through the whole process; here they count from 1 in each model."""
    layer, suffix = path.rsplit("/", 1)
    for stem in ("conv2d", "batch_normalization"):
        if layer == stem or layer.startswith(stem + "_"):
            number = int(layer[len(stem) + 1 :] or 0)
            first.setdefault(stem, number)
            return f"{stem}_{number - first[stem] + 1}/{suffix}"
    return path


def run(build, preprocess, seed, kind):
    keras.config.set_floatx(kind)
    keras.utils.clear_session()
    model = build(weights=None, classes=CLASSES, input_shape=(SIDE, SIDE, 3), classifier_activation=None)
    first = {}
    for weight in model.weights:
        weight.assign(parameter(seed, canonical(weight.path, first), tuple(weight.shape)))
    image = uniform(seed, "image", SIDE * SIDE * 3).reshape(1, SIDE, SIDE, 3)
    image = torch.tensor(image, dtype=getattr(torch, kind), requires_grad=True)
    logits = model(preprocess(255 * image), training=False)
    (logits[0] * torch.tensor(COTANGENT, dtype=logits.dtype)).sum().backward()
    gradient = image.grad.double().numpy()
    return logits.detach().double().numpy()[0], gradient


def main(out):
    torch.set_num_threads(1)
    goldens = {}
    for network, (build, preprocess) in NETWORKS.items():
        for seed in SEEDS:
            exact = None
            for kind in ("float64", "float32"):
                logits, gradient = run(build, preprocess, seed, kind)
                goldens[f"{network}/{seed}/{kind}/logits"] = logits
                if kind == "float64":
                    goldens[f"{network}/{seed}/{kind}/norm"] = np.array([np.linalg.norm(gradient)])
                    goldens[f"{network}/{seed}/{kind}/gradient"] = gradient.ravel()[::STEP].copy()
                exact = (logits, gradient) if exact is None else exact
                off = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip((logits, gradient), exact)]
                print(f"{network} {seed} {kind}: logits {logits}, |gradient| {np.linalg.norm(gradient):.6g}, "
                      f"relative L2 to float64: {off[0]:.1e} {off[1]:.1e}", flush=True)
    save_file(goldens, out)


if __name__ == "__main__":
    main(sys.argv[1])
