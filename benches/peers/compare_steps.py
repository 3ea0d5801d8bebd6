"""Whole steps of dimask and of its peers in turn: how many times faster, and the memory.

    python benches/peers/compare_steps.py --python PYTHON_WITH_TORCH [--only PART_OF_NAME] [--rounds 2]
    python benches/peers/compare_steps.py --python PYTHON_WITH_TORCH --bf16 [--only ...] [--rounds 2]
    python benches/peers/compare_steps.py --crates [--rounds 2] [--steps 12]

For each row one process of ours, one of PyTorch with its defaults and one of PyTorch at its best in
f32 (channels-last, a tuned allocator, the fused optimiser), one after the other, `--rounds` times;
prints the best of each, the two ratios, and the peak memory of the processes less what they hold
before the first step.

With `--bf16` both sides take the steps in bf16 too, and the ratio is of the best on each side in any
precision.

With `--crates` the peers are burn and candle instead, built from the packages `burn/` and `candle/`
beside this file, and the row is the one step that they take, `simclr_conv4_3x32_b256`; prints the
best of each and the ratios.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

from compare import TUNED, bench_binary, built

# Our row, PyTorch's row, our bench.
ROWS = [
    ("simclr_resnet18_b64", "simclr_resnet18_b64", "steps"),
    ("metamask_resnet18_b64", "metamask_resnet18_b64", "steps"),
    ("metamask_resnet18_b64", "finite_difference_resnet18_b64", "steps"),
    ("exact_joint_shared_resnet18_b64", "finite_difference_resnet18_b64", "steps"),
    ("simclr_conv4_3x32_b256", "simclr_conv4_3x32_b256", "steps"),
    ("metamask_conv4_3x32_b256", "metamask_conv4_3x32_b256", "steps"),
    ("metamask_conv4_3x32_b256", "finite_difference_conv4_3x32_b256", "steps"),
    ("bn_relu_fwd_bwd_64x32x32x64", "bn_relu_fwd_bwd_64x32x32x64", "norm"),
    ("barlow_256x2048_fwd_bwd", "barlow_256x2048_fwd_bwd", "losses"),
    ("ntxent_512x256_fwd_bwd", "ntxent_512x256_fwd_bwd", "losses"),
]


def answer(command, environment):
    """The JSON line that a command prints."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment}
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment)
    return json.loads(out.stdout.splitlines()[-1])


def memory(found):
    """MB above what was held before the first step, where that is told."""
    peak, idle = found.get("peak_memory_mb"), found.get("idle_memory_mb", 0)
    return f"{peak - idle:6}" if peak is not None else "     -"


def crates(flags):
    """The step of ours and of other crates."""
    def crate(name):
        folder = pathlib.Path(__file__).resolve().with_name(name)
        return built(["cargo", "build", "--release"], "bin", folder)

    step = "simclr_conv4_3x32_b256"
    sides = [[bench_binary("steps"), "--bench", "--json", "--only", step]]
    sides += [[crate(name), str(flags.steps)] for name in ("burn", "candle")]
    threads = {"RAYON_NUM_THREADS": str(flags.threads)}
    rounds = [[answer(side, threads) for side in sides] for _ in range(flags.rounds)]
    own = min(found[0]["seconds_best"] for found in rounds)
    print(f"{step}: dimask {own:.4f} s")
    for i in range(1, len(sides)):
        best = min(found[i]["seconds_best"] for found in rounds)
        print(f"{rounds[0][i]['peer']:24} {best:9.4f} s {best / own:8.2f}x")


def in_bf16(name):
    """The bench's name of a step whose layers multiply in bf16."""
    for model in ("resnet18", "conv4"):
        name = name.replace(f"_{model}", f"_bf16_{model}")
    return name


def print_bf16(rows, cache):
    """The seconds of each side and precision, and the ratio of the best."""
    print(f"{'ours':32} {'PyTorch':34} {'f32':>8} {'bf16':>8}   {'f32':>8} {'bf16':>8}")
    for own, peer, _ in rows:
        ours = [cache[kind, own]["seconds_best"] for kind in ("own", "own bf16")]
        theirs = [cache[kind, peer]["seconds_best"] for kind in ("defaults", "best", "bf16")]
        theirs = [min(theirs[:2]), theirs[2]]
        print(f"{own:32} {peer:34} {ours[0]:8.4f} {ours[1]:8.4f}   {theirs[0]:8.4f} {theirs[1]:8.4f}"
              f" {min(theirs) / min(ours):8.2f}x")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with torch")
    parser.add_argument("--only", default="", help="a part of the names")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="the best of any precision")
    parser.add_argument("--crates", action="store_true", help="burn and candle, not PyTorch")
    parser.add_argument("--steps", type=int, default=12, help="of a process of another crate")
    parser.add_argument("--budget", type=float, default=4.0, help="seconds a process, at least")
    flags = parser.parse_args()
    if flags.crates:
        return crates(flags)
    script = str(pathlib.Path(__file__).with_name("torch_steps.py"))
    rows = [row for row in ROWS if flags.only in row[0] or flags.only in row[1]]
    if flags.bf16:
        rows = [row for row in rows if row[2] == "steps"]
    binaries = {bench: bench_binary(bench) for bench in sorted({row[2] for row in rows})}
    limits = ["--budget", str(flags.budget)]
    cache = {}

    def take(kind, name, command, environment):
        """One more process; the best time so far of this kind and name, and its memory."""
        found = answer(command + limits, environment)
        best = cache.setdefault((kind, name), found)
        if found["seconds_best"] < best["seconds_best"]:
            cache[kind, name] = found

    threads = {"RAYON_NUM_THREADS": str(flags.threads)}
    for turn in range(flags.rounds):
        seen = set()
        for own, peer, bench in rows:
            torch = [flags.python, script, peer, "--threads", str(flags.threads), "--layout"]
            ours = [binaries[bench], "--bench", "--json", "--only"]
            sides = [
                ("own", own, ours + [own], threads),
                ("defaults", peer, torch + ["nchw"], {}),
                ("best", peer, torch + ["channels_last"], TUNED),
            ]
            if flags.bf16:
                sides += [
                    ("own bf16", own, ours + [in_bf16(own)], threads),
                    ("bf16", peer, torch + ["channels_last", "--bf16"], TUNED),
                ]
            for kind, name, command, environment in sides:
                if (kind, name) not in seen:
                    seen.add((kind, name))
                    take(kind, name, command, environment)
    if flags.bf16:
        return print_bf16(rows, cache)
    print(f"{'ours':32} {'PyTorch':34} {'dimask s':>9} {'defaults':>9} {'best f32':>9}   MB: each")
    for own, peer, _ in rows:
        found = [cache["own", own], cache["defaults", peer], cache["best", peer]]
        seconds = [x["seconds_best"] for x in found]
        # Its best is whichever setting was the faster one.
        ratios = seconds[1] / seconds[0], min(seconds[1:]) / seconds[0]
        memories = " ".join(memory(x) for x in found)
        print(f"{own:32} {peer:34} {seconds[0]:9.4f} {ratios[0]:8.2f}x {ratios[1]:8.2f}x  {memories}")


if __name__ == "__main__":
    main()
