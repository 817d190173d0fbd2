#!/usr/bin/env python3
"""Writes pictures that are no fundus photographs, for `diaret check-fields --others DIR`.

usage: other_pictures.py DIR

Photographs, medical images and drawings that scikit-image, scikit-learn and matplotlib ship (and the DICOM files of pydicom,
where it is installed); generated text, noise, gradients, screens, charts; and, as the hard cases, round things on black:
planets, coins, balls, an iris, and photographs and a histological section seen through a round aperture. Nothing is
downloaded. Needs numpy, Pillow, scikit-image, scikit-learn, matplotlib. Left out on purpose: scikit-image's `retina` (a fundus
photograph) and pictures under 64 pixels.
"""
import gzip
import io
import pathlib
import sys

import matplotlib
import numpy as np
import skimage
import sklearn.datasets
from PIL import Image, ImageDraw, ImageFilter, ImageFont

matplotlib.use("Agg")
import matplotlib.pyplot as plt

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
random = np.random.default_rng(7)
font = ImageFont.load_default(24)


def save(name, picture):
    if not isinstance(picture, Image.Image):
        picture = Image.fromarray(np.clip(np.asarray(picture), 0, 255).astype(np.uint8))
    picture.convert("RGB").save(out / f"{name}.png")


def noise(height, width, sigma):
    """Smooth noise of mean 0 and deviation 1."""
    field = random.normal(size=(height, width)).astype(np.float32)
    spectrum = np.fft.rfft2(field)
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    field = np.fft.irfft2(spectrum * np.exp(-2 * (np.pi * sigma) ** 2 * (x * x + y * y)), s=(height, width))
    return field / field.std()


def disc(size, radius, colour, texture, limb, aspect=1.0):
    """A textured ball on black, darker towards its limb."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    r = np.hypot(x, y * aspect) / radius
    shade = np.sqrt(np.clip(1 - r * r, 0, 1)) ** limb * (r < 1)
    return shade[..., None] * (np.array(colour) * (1 + texture[..., None]))


def aperture(picture, share=0.48):
    """A photograph through a round aperture."""
    picture = np.asarray(picture.convert("RGB")).astype(float)
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    square = picture[top:top + side, left:left + side]
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return square * (np.hypot(x, y) < share * side)[..., None]


# What packages ship.
data = pathlib.Path(skimage.__file__).parent / "data"
for name in ["astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "chessboard_GRAY.png", "chessboard_RGB.png",
             "clock_motion.png", "coffee.png", "coins.png", "color.png", "grass.png", "gravel.png", "horse.png",
             "hubble_deep_field.jpg", "ihc.png", "logo.png", "moon.png", "motorcycle_left.png", "motorcycle_right.png",
             "page.png", "phantom.png", "rocket.jpg", "text.png", "microaneurysms.png"]:
    save("skimage_" + pathlib.Path(name).stem, Image.open(data / name))
for name in ["china.jpg", "flower.jpg"]:
    save("sklearn_" + name[:-4], sklearn.datasets.load_sample_image(name))
digits = sklearn.datasets.load_digits().images
save("sklearn_digits", np.kron(np.block([[digits[10 * r + c] for c in range(10)] for r in range(10)]) * 15, np.ones((5, 5))))
samples = pathlib.Path(matplotlib.get_data_path()) / "sample_data"
for name in ["grace_hopper.jpg", "Minduka_Present_Blue_Pack.png", "logo2.png"]:
    save("matplotlib_" + pathlib.Path(name).stem.lower(), Image.open(samples / name))
scan = np.frombuffer(gzip.open(samples / "s1045.ima.gz").read(), np.uint16).reshape(256, 256)
scan = scan / scan.max()
save("matplotlib_brain_mri", scan * 255)
save("matplotlib_brain_mri_hot", plt.get_cmap("hot")(scan)[..., :3] * 255)
save("matplotlib_brain_mri_jet", plt.get_cmap("jet")(scan)[..., :3] * 255)
try:
    import pydicom
    root = pathlib.Path(pydicom.__file__).parent / "data" / "test_files"
    for name in ["CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "examples_rgb_color.dcm", "examples_palette.dcm",
                 "examples_ybr_color.dcm", "SC_rgb_small_odd.dcm", "ExplVR_BigEnd.dcm"]:
        if (root / name).is_file():
            (out / f"pydicom_{name}").write_bytes((root / name).read_bytes())
except ImportError:
    print("pydicom is not installed: its DICOM files are not among the pictures", file=sys.stderr)

# Text, screens, charts.
page = Image.new("RGB", (900, 1200), "white")
draw = ImageDraw.Draw(page)
for line in range(38):
    draw.text((60, 40 + 30 * line), "Referral letter: visual acuity, fundus, follow-up " + str(line), fill="black", font=font)
save("text_page", page)
terminal = Image.new("RGB", (1024, 640), (12, 12, 16))
draw = ImageDraw.Draw(terminal)
for line in range(20):
    draw.text((12, 10 + 30 * line), "$ grade photographs --format csv  # " + "x" * (line % 7), fill=(240, 150, 60), font=font)
save("screen_terminal", terminal)
window = Image.new("RGB", (1280, 800), (60, 60, 66))
draw = ImageDraw.Draw(window)
for box, colour in [((0, 0, 1280, 40), (30, 30, 34)), ((0, 40, 260, 800), (44, 44, 50)), ((300, 80, 760, 540), "black"),
                    ((790, 80, 1250, 540), "black"), ((300, 580, 1250, 780), (50, 50, 58))]:
    draw.rectangle(box, fill=colour)
for row in range(12):
    draw.text((20, 60 + 56 * row), f"case {row:03}", fill=(220, 220, 220), font=font)
save("screen_window", window)
window.paste(Image.open(data / "chelsea.png").resize((460, 300)), (300, 160))
save("screen_viewer_with_cat", window)
for name, plot in {"lines": lambda axes: axes.plot(np.cumsum(random.normal(size=(200, 4)), 0)),
                   "bars": lambda axes: axes.bar(range(5), [5, 1, 3, 2, 1], color="tab:orange"),
                   "pie": lambda axes: axes.pie([5, 1, 3], colors=["#b5451b", "#d9762b", "#8a2f14"])}.items():
    figure, axes = plt.subplots(figsize=(6, 4))
    plot(axes)
    buffer = io.BytesIO()
    figure.savefig(buffer)
    plt.close(figure)
    save("chart_" + name, Image.open(buffer))

# Noise, gradients, plain colours.
save("noise_colour", random.integers(0, 256, (400, 500, 3)))
save("noise_orange", np.array([200, 100, 40]) + 30 * random.normal(size=(400, 500, 1)))
save("noise_smooth_orange", np.array([200, 100, 40]) * (1 + 0.2 * noise(480, 640, 20)[..., None]))
ramp = np.linspace(0, 1, 512)
save("gradient_grey", np.tile(255 * ramp, (384, 1)))
save("gradient_orange", np.tile(ramp[:, None] * np.array([255, 140, 60]), (384, 1, 1)))
y, x = np.mgrid[:480, :640]
save("gradient_radial_orange", np.clip(1 - np.hypot(x - 320, y - 240) / 400, 0, 1)[..., None] * np.array([230, 120, 50]))
save("gradient_spot", np.exp(-(((x - 320) ** 2 + (y - 240) ** 2) / 9000.0))[..., None] * np.array([230, 120, 50]))
save("plain_orange", np.full((300, 400, 3), (210, 110, 50)))
save("plain_black", np.zeros((300, 400, 3)))

# Round things.
blank = np.zeros((512, 512))
save("disc_grey_moon", disc(512, 220, (190, 190, 186), 0.15 * noise(512, 512, 6), 0.4))
save("disc_blue_planet", disc(512, 220, (60, 110, 200), 0.3 * noise(512, 512, 14), 0.5))
save("disc_red_planet", disc(512, 220, (200, 110, 70), 0.25 * noise(512, 512, 8), 0.5))
save("disc_striped_planet", disc(512, 230, (210, 170, 130), 0.15 * np.sin(np.linspace(0, 40, 512))[:, None] + 0.03 * noise(512, 512, 4), 0.5, 1.07))
save("disc_sun", disc(512, 200, (255, 200, 40), 0.06 * noise(512, 512, 2), 0.3))
save("disc_orange_ball", disc(512, 200, (230, 120, 30), blank, 1.0))
save("disc_flat_red", disc(512, 200, (200, 40, 30), blank, 0.0))
save("disc_flat_green", disc(512, 200, (40, 180, 60), blank, 0.0))
save("disc_white", disc(512, 200, (250, 250, 250), blank, 0.0))
save("disc_copper_coin", disc(512, 210, (190, 110, 70), 0.2 * np.sign(noise(512, 512, 10)), 0.1))
eye = Image.new("RGB", (640, 480), (225, 180, 160))
draw = ImageDraw.Draw(eye)
draw.ellipse((60, 80, 580, 400), fill=(245, 240, 238))
draw.ellipse((190, 110, 450, 370), fill=(110, 70, 40))
draw.ellipse((270, 190, 370, 290), fill=(8, 6, 6))
save("drawing_anterior_eye", eye.filter(ImageFilter.GaussianBlur(3)))
for name in ["chelsea.png", "coffee.png", "ihc.png", "astronaut.png"]:
    save("aperture_" + name[:-4], aperture(Image.open(data / name)))
for name in ["china.jpg", "flower.jpg"]:
    save("aperture_" + name[:-4], aperture(Image.fromarray(sklearn.datasets.load_sample_image(name))))
fluorescence = aperture(Image.open(data / "cell.png"))
save("aperture_cell", fluorescence)
print(len(list(out.iterdir())), "pictures in", out)
