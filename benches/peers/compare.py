"""Kernels of dimask and of PyTorch in turn: how many times faster, workload by workload.

    python benches/peers/compare.py --python PYTHON_WITH_TORCH [--only PART_OF_NAME] [--rounds 3]

Builds the benches, then for each workload runs dimask, PyTorch with its defaults, and PyTorch at
its best in f32 (channels-last, an allocator that keeps memory and asks for huge pages), one after
the other, `--rounds` times; prints the best of each and the two ratios, and their geometric means
by group. PyTorch lives in an environment of its own: nothing here depends on it.
"""
import argparse
import json
import math
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Fewer page faults: keep freed memory, ask for huge pages.
TUNED = {
    "THP_MEM_ALLOC_ENABLE": "1",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TOP_PAD_": str(1 << 26),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
LAYERS = [
    (3, 64, 32, 3, 1), (64, 64, 32, 3, 1), (128, 128, 16, 3, 1), (256, 256, 8, 3, 1),
    (512, 512, 4, 3, 1), (64, 128, 32, 3, 2), (128, 256, 16, 3, 2), (256, 512, 8, 3, 2),
    (64, 128, 32, 1, 2), (128, 256, 16, 1, 2), (256, 512, 8, 1, 2),
]
PRODUCTS = [
    "256x256x256", "512x512x512", "1024x1024x1024", "2048x2048x2048", "512x4608x1024",
    "256x2304x16384", "2048x512x2048",
]


def workloads():
    """Pairs of group and name."""
    for c, o, side, kernel, stride in LAYERS:
        group = "3x3 stride 1" if kernel == 3 and stride == 1 else "3x3 stride 2 and 1x1"
        group = "first layer" if c == 3 else group
        for part in ["fwd", "dgrad", "wgrad"]:
            if (c, part) != (3, "dgrad"):
                yield group, f"conv_{c}-{o}_{side}_k{kernel}s{stride}_{part}"
    for product in PRODUCTS:
        yield "gemm", f"gemm_{product}"


def built(command, kind, folder=ROOT):
    """The path of the program of this kind that a cargo command builds in a package's folder."""
    command = [*command, "--message-format=json"]
    out = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True, text=True).stdout
    messages = [json.loads(line) for line in out.splitlines()]
    return next(m["executable"] for m in messages if m.get("target", {}).get("kind") == [kind])


def bench_binary(name):
    """Builds a bench; returns its path."""
    return built(["cargo", "bench", "--bench", name, "--no-run"], "bench")


class Torch:
    """A running `torch_kernels.py`."""

    def __init__(self, flags, layout, environment):
        script = pathlib.Path(__file__).with_name("torch_kernels.py")
        command = [flags.python, str(script), "--layout", layout]
        command += ["--threads", str(flags.threads), "--budget", str(flags.budget)]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, env=environment, **pipes)

    def seconds(self, name):
        print(name, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())["seconds_best"]


def ours(binary, name, flags):
    command = [binary, "--bench", "--json", "--only", name, "--budget", str(flags.budget)]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(flags.threads)}
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment)
    answers = [json.loads(line) for line in out.stdout.splitlines()]
    answer = next(answer for answer in answers if answer["name"] == name)
    return answer["seconds_best"], answer["gflops"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with torch")
    parser.add_argument("--only", default="", help="a part of the names")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=0.4, help="seconds a workload and side")
    flags = parser.parse_args()
    binaries = {name: bench_binary(name) for name in ["conv", "gemm"]}
    default, best = Torch(flags, "nchw", {}), Torch(flags, "channels_last", TUNED)
    groups = {}
    print(f"{'workload':28} {'dimask ms':>10} {'GFLOP/s':>8} {'defaults':>9} {'best f32':>9}")
    for group, name in workloads():
        if flags.only not in name:
            continue
        binary = binaries[name.split("_")[0]]
        rounds = []
        for _ in range(flags.rounds):
            mine = ours(binary, name, flags)
            rounds.append((*mine, default.seconds(name), best.seconds(name)))
        seconds, slow, fast = (min(r[i] for r in rounds) for i in (0, 2, 3))
        # Its best is whichever setting was the faster one.
        ratios = slow / seconds, min(slow, fast) / seconds
        groups.setdefault(group, []).append(ratios)
        gflops = max(r[1] for r in rounds)
        line = f"{name:28} {seconds * 1e3:10.3f} {gflops:8.1f} {ratios[0]:8.2f}x {ratios[1]:8.2f}x"
        print(line, flush=True)
    print("\ngeometric means: times faster than PyTorch's defaults, and than its best in f32")
    for group, ratios in groups.items():
        means = [math.exp(sum(math.log(r[i]) for r in ratios) / len(ratios)) for i in range(2)]
        print(f"{group:28} {means[0]:8.2f}x {means[1]:8.2f}x")


if __name__ == "__main__":
    main()
