"""The bench `knn` in PyTorch, by blocks of queries: python benches/peers/torch_knn.py [REPEATS]."""
import sys
import time

import torch

ROWS, QUERIES, D, CLASSES = 50_000, 10_000, 512, 10
VOTES = [(5, 1.0), (200, 0.1), (20, 0.07)]
torch.manual_seed(1)
bank, queries = torch.randn(ROWS, D), torch.randn(QUERIES, D)
labels = torch.arange(ROWS) % CLASSES


def knn(block):
    unit = torch.nn.functional.normalize
    rows, asked = unit(bank, dim=1).t().contiguous(), unit(queries, dim=1)
    for start in range(0, QUERIES, block):
        near, index = (asked[start : start + block] @ rows).topk(max(k for k, _ in VOTES))
        for k, t in VOTES:
            scores = torch.zeros(len(near), CLASSES)
            scores.scatter_add_(1, labels[index[:, :k]], (near[:, :k] / t).exp()).argmax(1)


for block in (256, 1024):
    times = []
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        start = time.perf_counter()
        knn(block)
        times.append(time.perf_counter() - start)
    print(f"knn_{ROWS}x{QUERIES}x{D} block {block}: best {min(times):.2f} s "
          f"({2 * ROWS * QUERIES * D / min(times) / 1e9:.0f} GFLOP/s, {torch.get_num_threads()} threads)")
