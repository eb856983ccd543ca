"""Milliseconds of a training step in PyTorch, of the emoji recipe's codec and prior, under several settings, as JSON: the best
of each is the peer's figure. A step is forward, backward, Adam and the moving average of the weights, as `tessera train` does it."""
import argparse
import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

from networks import Denoiser, Encoder, Generator

CODES = 512


class Codec(nn.Module):
    """The VQ-VAE of recipes/emoji64.toml; its loss of a batch of pictures [N, 3, 64, 64] in 0..1."""

    def __init__(self):
        super().__init__()
        sizes = {"base": 32, "multipliers": (1, 2, 4), "blocks": 1, "attention": 16, "embedding": 32, "codes": CODES}
        self.encoder = Encoder(side=64, **sizes)
        self.generator = Generator(side=16, **sizes)
        self.encoder.codebook = None
        self.codebook = self.generator.codebook

    def forward(self, pixels):
        z = self.encoder.layers(pixels).permute(0, 2, 3, 1).float()
        table = self.codebook.weight
        with torch.no_grad():
            codes = (table.square().sum(1) - 2 * z @ table.t()).argmin(-1)
        chosen = F.embedding(codes, table)
        codebook = 0.25 * F.mse_loss(chosen, z.detach()) + F.mse_loss(z, chosen.detach())
        made = self.generator.layers((z + (chosen - z).detach()).permute(0, 3, 1, 2)).float()
        return F.l1_loss(made, pixels) + 0.2 * edges(made, pixels) + codebook


def edges(a, b, levels=3):
    total = 0.0
    for level in range(levels):
        for axis in (2, 3):
            total = total + (a.diff(dim=axis) - b.diff(dim=axis)).abs().mean()
        if level + 1 < levels:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return total


class Prior(nn.Module):
    """The absorbing prior of recipes/emoji64.toml; its reweighted bound of a batch of grids [N, 256]."""

    def __init__(self):
        super().__init__()
        self.denoiser = Denoiser(layers=6, heads=4, width=256, cells=256, codes=CODES)

    def forward(self, grids):
        t = torch.randint(1, 257, (len(grids), 1))
        masked = torch.rand(grids.shape) < t / 256
        logits = self.denoiser(torch.where(masked, torch.full_like(grids, CODES), grids)).float()
        each = F.cross_entropy(logits.flatten(0, 1), grids.flatten(), reduction="none").view(grids.shape)
        return ((1 - t / 256) * each * masked).sum(1).mean() / grids.shape[1]


def step_ms(make, batch, steps, low, channels_last):
    torch.manual_seed(0)
    network = make()
    if channels_last:
        network, batch = network.to(memory_format=torch.channels_last), batch.to(memory_format=torch.channels_last)
    parameters = list(network.parameters())
    average = [p.detach().clone() for p in parameters]
    adam = torch.optim.Adam(parameters, lr=1e-4)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = network(batch)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        with torch.no_grad():
            torch._foreach_mul_(average, 0.995)
            torch._foreach_add_(average, [p.detach() for p in parameters], alpha=0.005)

    step()
    times = []
    for _ in range(steps):
        begin = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    cases = {"codec": (Codec, torch.rand(8, 3, 64, 64)), "prior": (Prior, torch.randint(CODES, (16, 256)))}
    report = {"torch": torch.__version__}
    for name, (make, batch) in cases.items():
        results = {}
        for threads in options.threads:
            torch.set_num_threads(threads)
            for low in (False, True):
                for channels_last in (False, True) if name == "codec" else (False,):
                    setting = f"{'bfloat16 autocast' if low else 'float32'}{', channels-last' if channels_last else ''}, {threads} threads"
                    results[setting] = step_ms(make, batch, options.steps, low, channels_last)
                    print(f"  {name}, {setting}: {results[setting]:.1f} ms", file=sys.stderr)
        best = min(results, key=results.get)
        report[name] = {"best_ms": results[best], "best": best, "all": results}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
