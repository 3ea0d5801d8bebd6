"""Random views by dimask and by torchvision in turn, one core each: images a second, and the ratio.

    PYTHON_WITH_TORCHVISION benches/peers/torchvision_views.py [--side 32] [--rounds 5]

The official pipeline on images of the same size: random resized crop, flip, colour jitter,
grayscale, normalisation. torchvision works on PIL images, as its users' loaders do. Each round
runs both, one after the other; the best of each is compared, dimask's by the clock.
"""
import argparse
import json
import pathlib
import subprocess
import time

import numpy
import torch
from PIL import Image
from torchvision import transforms

ROOT = pathlib.Path(__file__).resolve().parents[2]


def bench_binary():
    """Builds the bench; returns its path."""
    command = ["cargo", "bench", "--bench", "augment", "--no-run", "--message-format=json"]
    out = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout
    messages = [json.loads(line) for line in out.splitlines()]
    return [m["executable"] for m in messages if m.get("executable")][-1]


def dimask(binary, side):
    """Views a second, by one thread."""
    command = [binary, "--json", "--only", f"views_official_{side}"]
    out = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(out.splitlines()[-1])["images_per_second"]


def peer(side, seconds=2.0):
    """The same by torchvision, by the processor's time: other jobs on the machine do not count."""
    jitter = transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)
    pipeline = transforms.Compose([
        transforms.RandomResizedCrop(side),
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([jitter], p=0.8),
        transforms.RandomGrayscale(0.2),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])
    draw = numpy.random.default_rng(1)
    images = [Image.fromarray(draw.integers(0, 256, (side, side, 3), dtype=numpy.uint8))
              for _ in range(64)]
    best = 0.0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.thread_time()
        for image in images:
            pipeline(image)
        best = max(best, len(images) / (time.thread_time() - start))
    return best


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=32, choices=[32, 64, 96])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    binary = bench_binary()
    own, other = 0.0, 0.0
    for _ in range(options.rounds):
        own = max(own, dimask(binary, options.side))
        other = max(other, peer(options.side))
    print(f"{options.side}x{options.side}: dimask {own:,.0f} images/s, torchvision {other:,.0f}, "
          f"{own / other:.1f} times")


main()
