"""The work of `cargo bench --bench steps`, and of a row of `norm` and `losses`, in PyTorch on the CPU.

    python benches/peers/torch_steps.py NAME [--layout nchw|channels_last] [--bf16] [--threads N]
        [--budget S]

Runs one workload in a process of its own and prints one JSON line: name, seconds_best,
seconds_median, peak_memory_mb (of the process), idle_memory_mb (with model and data, before the
first step). Names of steps are those of the bench, KIND_MODEL: kind `simclr`, `metamask` (the exact
gradient of the mask, by reverse over reverse) or `finite_difference` (the published approximation,
without the heads of the published code that no loss reaches); model `resnet18_b64` or
`conv4_3x32_b256`. Further names: `bn_relu_fwd_bwd_64x32x32x64`, `barlow_256x2048_fwd_bwd`,
`ntxent_512x256_fwd_bwd`. With `channels_last`, the optimiser is the fused one; with `--bf16`,
encoder and heads of a step run under autocast, the losses and the optimiser in f32.
"""
import argparse
import copy
import json
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

LR, MOMENTUM, DECAY = 1e-3, 0.9, 5e-4


class Block(nn.Module):
    """A basic block of ResNet."""

    def __init__(self, c, o, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c, o, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(o), nn.BatchNorm2d(o)
        shortcut = [nn.Conv2d(c, o, 1, stride, bias=False), nn.BatchNorm2d(o)]
        self.shortcut = nn.Sequential(*(shortcut if stride > 1 else []))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


def resnet18():
    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    for c, o, stride in [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]:
        layers += [Block(c, o, stride), Block(o, o, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 512


def conv4():
    layers, c = [], 3
    for o in (32, 64, 128, 256):
        convolution = nn.Conv2d(c, o, 3, 1, 1, bias=False)
        layers += [convolution, nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)]
        c = o
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 256


def head(widths):
    layers = []
    for i, (c, o) in enumerate(zip(widths, widths[1:])):
        layers += [nn.Linear(c, o), nn.BatchNorm1d(o)] + [nn.ReLU()] * (i + 2 < len(widths))
    return nn.Sequential(*layers)


def nt_xent(a, b, temperature):
    z = F.normalize(torch.cat([a, b]), dim=1)
    similarity = (z @ z.t() / temperature).fill_diagonal_(float("-inf"))
    return F.cross_entropy(similarity, torch.arange(len(z)).roll(len(a)))


def barlow(a, b, weight=5e-3):
    a, b = ((x - x.mean(0)) / x.std(0) for x in (a, b))
    c = a.t() @ b / len(a)
    on = c.diagonal()
    return (on - 1).square().sum() + weight * (c.square().sum() - on.square().sum())


class Network(nn.Module):
    """The encoder, the base head, and with MetaMask the redundancy head; views go one by one."""

    def __init__(self, encoder, redundancy, bf16):
        super().__init__()
        self.bf16 = bf16
        self.encoder, d = encoder()
        self.features = d
        self.base = head([d, 2048, 256])
        if redundancy:
            self.redundancy = head([d, 2048, 2048, 2048])

    def forward(self, views, mask, base_only):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            h = [self.encoder(x) * mask for x in views]
            z = [self.base(x) for x in h]
            z += [] if base_only else [self.redundancy(x) for x in h]
        return [x.float() for x in z]


def sgd(parameters, layout):
    fused = {"fused": True} if layout == "channels_last" else {}
    return torch.optim.SGD(parameters, lr=LR, momentum=MOMENTUM, weight_decay=DECAY, **fused)


def step(kind, model, layout, bf16):
    """The call that takes one step."""
    encoder, pairs = {"resnet18_b64": (resnet18, 64), "conv4_3x32_b256": (conv4, 256)}[model]
    net = Network(encoder, kind != "simclr", bf16)
    views = [torch.randn(pairs, 3, 32, 32) for _ in range(2)]
    if layout == "channels_last":
        net = net.to(memory_format=torch.channels_last)
        views = [x.contiguous(memory_format=torch.channels_last) for x in views]
    optimizer = sgd(net.parameters(), layout)
    if kind == "simclr":
        both = torch.cat(views)
        ones = torch.ones(net.features)

        def plain():
            optimizer.zero_grad(set_to_none=True)
            z = net([both], ones, True)[0]
            nt_xent(z[:pairs], z[pairs:], 0.5).backward()
            optimizer.step()

        return plain

    mask = torch.zeros(net.features, requires_grad=True)
    mask_optimizer = sgd([mask], layout)

    def contrastive(network, weights=None):
        arguments = (views, torch.sigmoid(mask), True)
        if weights is not None:
            return nt_xent(*torch.func.functional_call(network, weights, arguments), 0.07)
        return nt_xent(*network(*arguments), 0.07)

    def regular():
        optimizer.zero_grad(set_to_none=True)
        a, b, c, d = net(views, torch.sigmoid(mask).detach(), False)
        (barlow(c, d) + 10 * nt_xent(a, b, 0.07)).backward()
        optimizer.step()

    named = {k: p for k, p in net.named_parameters() if not k.startswith("redundancy")}
    weights = list(named.values())

    def direction(p, g):
        return g + DECAY * p + MOMENTUM * optimizer.state[p]["momentum_buffer"]

    def finish(gradient):
        mask.grad = gradient
        mask_optimizer.step()
        mask.grad = None

    def exact():
        regular()
        gradients = torch.autograd.grad(contrastive(net), weights, create_graph=True)
        trial = {k: p - LR * direction(p, g) for (k, p), g in zip(named.items(), gradients)}
        finish(torch.autograd.grad(contrastive(net, trial), mask)[0])

    other = copy.deepcopy(net)
    of_other = [p for k, p in other.named_parameters() if not k.startswith("redundancy")]

    def place(shift):
        with torch.no_grad():
            for p, q, x in zip(weights, of_other, shift):
                torch.add(p, x, out=q)

    def finite_difference():
        regular()
        gradients = torch.autograd.grad(contrastive(net), weights)
        with torch.no_grad():
            place([-LR * direction(p, g) for p, g in zip(weights, gradients)])
        direct, *v = torch.autograd.grad(contrastive(other), [mask, *of_other])
        r = 1e-2 / torch.cat([x.reshape(-1) for x in v]).norm()
        sides = []
        for sign in (1, -1):
            place([sign * r * x for x in v])
            sides.append(torch.autograd.grad(contrastive(other), mask)[0])
        finish(direct - LR * (sides[0] - sides[1]) / (2 * r))

    return exact if kind == "metamask" else finite_difference


def operator(name, layout):
    """The call that goes forward and backward."""
    if name.startswith("bn_relu"):
        memory = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        x = torch.randn(64, 64, 32, 32).contiguous(memory_format=memory).requires_grad_()
        g, norm = torch.randn(64, 64, 32, 32).contiguous(memory_format=memory), nn.BatchNorm2d(64)
        inputs, call = [x, *norm.parameters()], lambda: (F.relu(norm(x)), g)
    else:
        rows, width = (256, 2048) if name.startswith("barlow") else (256, 256)
        inputs = [torch.randn(rows, width, requires_grad=True) for _ in range(2)]
        loss = barlow if name.startswith("barlow") else lambda a, b: nt_xent(a, b, 0.5)
        call = lambda: (loss(*inputs), None)

    def both():
        y, g = call()
        torch.autograd.grad(y, inputs, g)

    return both


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--layout", default="nchw", choices=["nchw", "channels_last"])
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--budget", type=float, default=5.0, help="seconds, at least three calls")
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    torch.manual_seed(0)
    for kind in ("simclr", "metamask", "finite_difference"):
        if flags.name.startswith(kind + "_"):
            call = step(kind, flags.name[len(kind) + 1:], flags.layout, flags.bf16)
            break
    else:
        call = operator(flags.name, flags.layout)
    idle = peak_mb()
    call()
    times, end = [], time.perf_counter() + flags.budget
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    print(json.dumps({
        "name": flags.name, "seconds_best": min(times), "seconds_median": statistics.median(times),
        "peak_memory_mb": peak_mb(), "idle_memory_mb": idle,
    }))


if __name__ == "__main__":
    main()
