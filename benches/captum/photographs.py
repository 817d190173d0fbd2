"""Grading from files as a PyTorch pipeline does it: PIL decodes at a reduced scale (`draft`) in worker processes, batches go
through the networks."""

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

SIDE, BATCH, DARK = 299, 8, 16


def square(path):
    """The field's bounding square, found by its brightness, [3, SIDE, SIDE] in [0, 1]."""
    image = Image.open(path)
    image.draft("RGB", (2 * SIDE, 2 * SIDE))
    image = image.convert("RGB")
    box = image.convert("L").point(lambda value: 255 * (value > DARK)).getbbox() or (0, 0, *image.size)
    field = image.crop(box)
    side = max(field.size)
    whole = Image.new("RGB", (side, side))
    whole.paste(field, ((side - field.width) // 2, (side - field.height) // 2))
    pixels = np.asarray(whole.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32) / 255
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


class Photographs(Dataset):
    def __init__(self, files):
        self.files = files

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return square(self.files[index])


def loader(files, workers):
    """Its workers stay, so that starting them is timed by nobody who has gone through it once."""
    return DataLoader(Photographs(files), batch_size=BATCH, num_workers=workers, persistent_workers=True)
