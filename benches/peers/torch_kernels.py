"""The work of `cargo bench --bench conv` and `--bench gemm` in PyTorch, on the CPU.

Reads names of workloads from standard input, one a line, and answers each with one JSON line:
name, seconds_best, seconds_median, gflops. Flags: `--layout nchw|channels_last`, `--threads N`,
`--budget SECONDS`. Convolutions have 64 images; names are `conv_IN-OUT_SIDE_kKERNELsSTRIDE_PART`
and `gemm_MxKxN`. A name that is not understood is answered with `null`.
"""
import argparse
import json
import re
import statistics
import sys
import time

import torch

CONV = re.compile(r"conv_(\d+)-(\d+)_(\d+)_k(\d+)s(\d+)_(fwd|dgrad|wgrad)")
GEMM = re.compile(r"gemm_(\d+)x(\d+)x(\d+)")
IMAGES = 64


def conv(match, layout):
    """The call and its floating-point operations, with the taps that fall in the padding."""
    c, o, side, kernel, stride = map(int, match.groups()[:5])
    part, padding = match.group(6), kernel // 2
    out = (side + 2 * padding - kernel) // stride + 1
    memory = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    x = torch.randn(IMAGES, c, side, side).contiguous(memory_format=memory)
    w = torch.randn(o, c, kernel, kernel).contiguous(memory_format=memory)
    g = torch.randn(IMAGES, o, out, out).contiguous(memory_format=memory)
    flop = 2 * IMAGES * out * out * o * c * kernel * kernel
    if part == "fwd":
        return (lambda: torch.nn.functional.conv2d(x, w, None, stride, padding)), flop
    mask = [part == "dgrad", part == "wgrad", False]
    arguments = (None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, mask)
    return (lambda: torch.ops.aten.convolution_backward(g, x, w, *arguments)), flop


def gemm(match):
    m, k, n = map(int, match.groups())
    a, b, c = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)
    return (lambda: torch.mm(a, b, out=c)), 2 * m * k * n


def measure(call, budget):
    call()
    seconds, end = [], time.perf_counter() + budget
    while len(seconds) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds), statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layout", choices=["nchw", "channels_last"], default="nchw")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--budget", type=float, default=0.4)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    for name in map(str.strip, sys.stdin):
        answer = None
        with torch.no_grad():
            if match := CONV.fullmatch(name):
                call, flop = conv(match, flags.layout)
            elif match := GEMM.fullmatch(name):
                call, flop = gemm(match)
            if match:
                best, median = measure(call, flags.budget)
                answer = {
                    "name": name,
                    "seconds_best": best,
                    "seconds_median": median,
                    "gflops": flop / best / 1e9,
                }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
