"""Calibrate and stack a night's CCD frames: sequential code, run in parallel.

    python ccd_calibration.py                           on this machine's cores
    python ccd_calibration.py --address 10.0.0.5:9999   on a server's nodes
    python ccd_calibration.py --sequential              in this process, as plain Python

::

    bias frames ─▶ mean ──────────┬─────────────┐
                                  ▼             ▼
    flat frames ───────────▶ minus bias ─▶ normalised mean
                                                ▼
    science frames ─────────────▶ (raw - bias) / flat ─▶ mean ─▶ reject cosmic rays ─┐
                                                          ▲                          │ until none
                                                          └──────────────────────────┘ is left

`reduce_night` is an ordinary function. With `@achilles.schedule` its calls of functions that are marked with
`@achilles.functional` run on workers, at the same time where no one needs another's result. How often the
last loop goes round depends on the pixels. Frames are made where they are used, as they would be read from
a shared disk, so what comes back here is the image alone. Both ways are run in one go, and the images
compared bit by bit.
"""

import argparse
import hashlib
import os
import time

import numpy as np

import achilles

OFFSET = 1000.0  # what the camera adds to each pixel
READ_NOISE = 5.0  # of a pixel, in electrons as all that follows
SKY = 200.0
LAMP = 20_000.0
STARS = 300
COSMIC_RAYS_PER_PIXEL = 2e-4
CLIP_SIGMA = 4.0


def random_of(kind, number):
    """Random numbers that are the same wherever a frame is made."""
    return np.random.default_rng([kind, number])


def read_out(random, electrons, size):
    """A frame as the camera gives it: the light with its noise, that of the amplifier, and the offset."""
    frame = random.standard_normal((size, size), dtype=np.float32)
    frame *= np.float32(READ_NOISE)
    if electrons is not None:
        frame += random.poisson(electrons)
    frame += np.float32(OFFSET) + np.arange(size, dtype=np.float32) % 7
    return frame


def sensitivity(size):
    """How much of the light each pixel sees: less towards the corners."""
    across = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    return 1 - np.float32(0.3) * (across[:, None] + across[None, :]) / 2


@achilles.functional
def bias_frame(number, size):
    """Taken in the dark, for no time at all."""
    return read_out(random_of(1, number), None, size)


@achilles.functional
def flat_frame(number, size):
    """Taken of an evenly lit screen."""
    return read_out(random_of(2, number), np.float32(LAMP) * sensitivity(size), size)


@achilles.functional
def science_frame(number, size):
    """Taken of the sky: stars at the same places in all frames, cosmic rays anywhere."""
    light = np.full((size, size), SKY, dtype=np.float32)
    stars = random_of(3, 0)
    rows, columns = stars.integers(0, size, (2, STARS))
    light[rows, columns] += stars.uniform(100, 30_000, STARS).astype(np.float32)
    light *= sensitivity(size)
    random = random_of(4, number)
    frame = read_out(random, light, size)
    hits = int(size * size * COSMIC_RAYS_PER_PIXEL)
    rows, columns = random.integers(0, size, (2, hits))
    frame[rows, columns] += random.uniform(50, 5000, hits).astype(np.float32)
    return frame


@achilles.functional
def mean_of(frames):
    """The mean of some frames, pixel by pixel."""
    total = frames[0].copy()
    for frame in frames[1:]:
        total += frame
    total /= np.float32(len(frames))
    return total


@achilles.functional
def without_bias(frame, bias):
    """A flat frame without the camera's offset."""
    return frame - bias


@achilles.functional
def normalised(frame):
    """A frame divided by its mean."""
    return frame / frame.mean(dtype=np.float64).astype(np.float32)


@achilles.functional
def calibrated(frame, bias, flat):
    """The electrons that each pixel would have had, were all as sensitive as the mean."""
    found = frame - bias
    found /= flat
    return found


@achilles.functional
def stacked(frames, masks):
    """The mean of each pixel over the frames that are not masked there; where all are, over none: 0."""
    total = np.zeros_like(frames[0])
    counts = np.zeros(total.shape, dtype=np.float32)
    for frame, mask in zip(frames, masks, strict=True):
        seen = np.float32(1) if mask is None else (~mask).astype(np.float32)
        total += frame * seen
        counts += seen
    return total / np.maximum(counts, 1)


@achilles.functional
def cosmic_rays(frame, mask, image):
    """The mask and every pixel that is too bright beside the mean image."""
    noise = np.sqrt(np.maximum(image, 0) + np.float32(READ_NOISE**2))
    too_bright = frame - image > np.float32(CLIP_SIGMA) * noise
    return too_bright if mask is None else mask | too_bright


@achilles.functional
def count_of(mask):
    """How many pixels are masked."""
    return int(np.count_nonzero(mask))


@achilles.schedule
def reduce_night(count, size):
    """The stacked image of a night, how many rounds its rejection took, and how many pixels it rejected."""
    bias = mean_of([bias_frame(number, size) for number in range(count)])
    flat = normalised(mean_of([without_bias(flat_frame(number, size), bias) for number in range(count)]))
    frames = []
    for number in range(count):
        raw = science_frame(number, size)
        frames.append(calibrated(raw, bias, flat))

    masks = [None] * count
    rejected, rounds = 0, 0
    while True:
        rounds += 1
        image = stacked(frames, masks)
        masks = [cosmic_rays(frame, mask, image) for frame, mask in zip(frames, masks, strict=True)]
        total = sum([count_of(mask) for mask in masks])
        if total == rejected:
            return image, rounds, rejected
        rejected = total


def measured(name, function, *arguments):
    """What a function returns and how long it took, in seconds."""
    started_s = time.perf_counter()
    found = function(*arguments)
    took_s = time.perf_counter() - started_s
    print(f"{name + ':':<12}{took_s:>7.2f} s")
    return found, took_s


def main():
    parser = argparse.ArgumentParser(description="Calibrate and stack simulated CCD frames.")
    parser.add_argument(
        "--size", type=int, default=1024, help="pixels along a side; 5120 for 100 MiB a frame"
    )
    parser.add_argument("--count", type=int, default=12, help="frames of each kind")
    parser.add_argument("--address", help="a server's host:port; by default this machine's cores do the work")
    parser.add_argument("--sequential", action="store_true", help="run as plain Python only")
    options = parser.parse_args()
    if options.address:
        os.environ["ACHILLES_ADDRESS"] = options.address  # looked for at the first scheduled call

    night = options.count, options.size
    # A scheduled function keeps what it was made of; outside of one, functional functions are plain ones.
    (image, rounds, rejected), plain_s = measured("sequential", reduce_night.__wrapped__, *night)
    print(f"{rejected:,} pixels rejected in {rounds} rounds, image {hashlib.sha256(image).hexdigest()[:16]}")
    if options.sequential:
        return
    measured("start", reduce_night, 2, 16)  # workers, and the imports there
    (again, *more), scheduled_s = measured("scheduled", reduce_night, *night)
    print(f"speed-up:   {plain_s / scheduled_s:>7.2f}")
    if image.tobytes() != again.tobytes() or more != [rounds, rejected]:
        raise SystemExit("the two images differ")
    print("equal to the last bit")


if __name__ == "__main__":
    main()
