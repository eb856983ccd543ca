"""Seconds of one picture by Halton-MaskGIT and by aMUSEd in PyTorch, of the released sizes with random weights, as JSON: the peers of
compare_released.py. The networks are written from their papers' formulas (arXiv:2503.17076, arXiv:2401.01808), and are sampled as
the original programs do: each step evaluates every cell with and without its condition as one batch of two, and draws every cell."""
import argparse
import json
import math
import time

import torch
from torch import nn
from torch.nn import functional as F

from networks import Attention, Doubling, GroupNorm, Residual


class RmsNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def attend(q, k, v, heads):
    def split(t):
        return t.view(*t.shape[:2], heads, -1).transpose(1, 2)

    q, k, v = split(q), split(k), split(v)
    weights = torch.softmax(q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5, -1)
    return (weights @ v).transpose(1, 2).flatten(2)


def decoder(widths, blocks, latent, with_attention):
    """Latents [N, latent, h, w] to pixels; widths from the coarsest level to the finest."""
    middle = [Attention(widths[0])] if with_attention else []
    layers = [nn.Conv2d(latent, widths[0], 3, padding=1), Residual(widths[0], widths[0]), *middle, Residual(widths[0], widths[0])]
    before = widths[0]
    for level, width in enumerate(widths):
        for _ in range(blocks):
            layers.append(Residual(before, width))
            before = width
            if with_attention and level == 0:
                layers.append(Attention(width))
        if level + 1 < len(widths):
            layers.append(Doubling(width))
    return nn.Sequential(*layers, GroupNorm(32, before, eps=1e-6), nn.SiLU(), nn.Conv2d(before, 3, 3, padding=1))


class MaskGitBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        inner, hidden = width // heads * heads, 256 * math.ceil(2 * 4 * width // 3 / 256)
        self.heads, self.inner = heads, inner
        self.condition = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.norm1, self.norm2 = RmsNorm(width, 1e-5), RmsNorm(width, 1e-5)
        self.q, self.k, self.v = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.output = nn.Linear(inner, width, bias=False)
        self.gate, self.up, self.down = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)

    @staticmethod
    def unit(x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)

    def forward(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.condition(c).unsqueeze(1).chunk(6, -1)
        y = self.norm1(x) * (1 + scale1) + shift1
        x = x + gate1 * self.output(attend(self.unit(self.q(y)), self.unit(self.k(y)), self.v(y), self.heads))
        y = self.norm2(x) * (1 + scale2) + shift2
        return x + gate2 * self.down(F.silu(self.gate(y)) * self.up(y))


class HaltonMaskGit(nn.Module):
    SIZES = {"tiny": (384, 6, 6), "small": (512, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}  # width, layers, heads

    def __init__(self, size, side=16, codes=16384, classes=1000):
        super().__init__()
        width, layers, heads = self.SIZES[size]
        self.side, self.codes, self.classes = side, codes, classes
        self.labels, self.tokens = nn.Embedding(classes + 1, width), nn.Embedding(codes + 1, width)
        self.position, self.register = nn.Parameter(0.02 * torch.randn(side * side, width)), nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.blocks = nn.ModuleList(MaskGitBlock(width, heads) for _ in range(layers))
        self.norm, self.norm_bias = RmsNorm(width, 1e-5), nn.Parameter(torch.zeros(width))
        self.condition, self.bias = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width)), nn.Parameter(torch.zeros(codes + 1))
        self.codebook, self.widen = nn.Embedding(codes, 8), nn.Conv2d(8, 256, 1)
        self.decoder = decoder((512, 256, 256, 128, 128), 3, 256, True)

    def logits(self, tokens, labels):
        c = self.labels(labels)
        x = torch.cat([self.tokens(tokens) + self.position, self.register.expand(len(tokens), -1, -1)], 1)
        for block in self.blocks:
            x = block(x, c)
        shift, scale = self.condition(c).unsqueeze(1).chunk(2, -1)
        x = (self.norm(x[:, :-1]) + self.norm_bias) * (1 + scale) + shift
        return F.linear(x, self.tokens.weight, self.bias)

    def order(self):
        """The cells in the order of the Halton sequence of bases 2 and 3."""
        def radical(index, base):
            value, share = 0.0, 1.0
            while index:
                share /= base
                value += share * (index % base)
                index //= base
            return value

        seen = {}
        for i in range(1, 10001):
            seen.setdefault(int(radical(i, 2) * self.side) * self.side + int(radical(i, 3) * self.side))
        return torch.tensor(list(seen))

    def picture(self, steps=32, w=2.0):
        cells = self.side * self.side
        order, tokens, filled = self.order(), torch.full((1, cells), self.codes), 0
        for step in range(steps):
            goal = max(step + 1, int(cells * (1 - math.acos((step + 1) / steps) / (math.pi / 2))))
            both = self.logits(tokens.repeat(2, 1), torch.tensor([1, self.classes]))
            conditional, unconditional = both.float().chunk(2)
            p = torch.softmax(((1 + w) * conditional - w * unconditional) * (1 + 0.2 * step / (steps - 1)), -1)
            drawn = torch.multinomial(p.flatten(0, 1), 1).view(1, cells)
            now = order[filled:goal]
            tokens[:, now], filled = drawn[:, now], goal
        z = F.normalize(self.codebook(tokens.clamp(0, self.codes - 1)), dim=-1)
        return self.decoder(self.widen(z.transpose(1, 2).reshape(1, 8, self.side, self.side))).clamp(-1, 1)


class ResponseNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        size = x.norm(dim=(1, 2), keepdim=True)
        return self.gamma * (x * (size / (size.mean(-1, keepdim=True) + 1e-6))) + self.beta + x


class ConvolutionBlock(nn.Module):
    def __init__(self, width, told):
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False), RmsNorm(width, 1e-6)
        self.up, self.down, self.response = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False), ResponseNorm(4 * width)
        self.condition = nn.Linear(told, 2 * width, bias=False)

    def forward(self, x, c):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        x = x + self.down(self.response(F.gelu(self.up(y)))).permute(0, 3, 1, 2)
        scale, shift = self.condition(F.silu(c))[:, :, None, None].chunk(2, 1)
        return x * (1 + scale) + shift


class Projections(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.output = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x, told):
        return self.output(attend(self.q(x), self.k(told), self.v(told), self.heads))


class TextBlock(nn.Module):
    def __init__(self, width, told, heads):
        super().__init__()
        self.text = nn.Linear(told, width, bias=False)
        self.norm1, self.norm2 = RmsNorm(width, 1e-6), RmsNorm(width, 1e-6)
        self.first, self.second = Projections(width, heads), Projections(width, heads)

    def forward(self, x, states):
        n, c, h, w = x.shape
        told, y = self.text(F.silu(states)), x.flatten(2).transpose(1, 2)
        y = y + self.first(self.norm1(y), told)
        y = y + self.second(self.norm2(y), told)
        return y.transpose(1, 2).reshape(n, c, h, w)


class LayerNorm(nn.LayerNorm):
    """In float32, as later releases of PyTorch do by themselves under autocast."""

    def forward(self, x):
        return super().forward(x.float())


class Told(nn.Module):
    """A norm that the condition sets."""

    def __init__(self, norm, width):
        super().__init__()
        self.norm, self.linear = norm, nn.Linear(width, 2 * width, bias=False)

    def forward(self, x, c):
        scale, shift = self.linear(F.silu(c)).unsqueeze(1).chunk(2, -1)
        return self.norm(x) * (1 + scale) + shift


class Layer(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.norm1, self.norm2 = Told(RmsNorm(width, 1e-6), width), Told(RmsNorm(width, 1e-6), width)
        self.norm3 = Told(LayerNorm(width, eps=1e-6), width)
        self.own, self.cross = Projections(width, heads), Projections(width, heads)
        self.up, self.down = nn.Linear(width, 2 * hidden, bias=False), nn.Linear(hidden, width, bias=False)

    def forward(self, x, states, c):
        y = self.norm1(x, c)
        x = x + self.own(y, y)
        x = x + self.cross(self.norm2(x, c), states)
        a, b = self.up(self.norm3(x, c)).chunk(2, -1)
        return x + self.down(a * F.gelu(b))


class TextEncoder(nn.Module):
    """CLIP ViT-L/14's text transformer: ids to states and, of the last place, one vector."""

    def __init__(self, width=768, layers=12, heads=12, vocabulary=49408, length=77):
        super().__init__()
        self.tokens, self.position, self.heads = nn.Embedding(vocabulary, width), nn.Parameter(torch.zeros(length, width)), heads
        self.layers = nn.ModuleList(nn.ModuleDict({
            "norm1": LayerNorm(width), "q": nn.Linear(width, width), "k": nn.Linear(width, width), "v": nn.Linear(width, width),
            "output": nn.Linear(width, width), "norm2": LayerNorm(width), "up": nn.Linear(width, 4 * width), "down": nn.Linear(4 * width, width),
        }) for _ in range(layers))
        self.norm, self.projection = LayerNorm(width), nn.Linear(width, width, bias=False)
        self.register_buffer("later", torch.full((length, length), float("-inf")).triu(1))

    def forward(self, ids):
        x = self.tokens(ids) + self.position
        states = x
        for layer in self.layers:
            states, y = x, layer["norm1"](x)
            q, k, v = (layer[name](y).view(*y.shape[:2], self.heads, -1).transpose(1, 2) for name in ("q", "k", "v"))
            weights = torch.softmax(q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5 + self.later, -1)
            x = x + layer["output"]((weights @ v).transpose(1, 2).flatten(2))
            y = layer["up"](layer["norm2"](x))
            x = x + layer["down"](y * torch.sigmoid(1.702 * y))
        return states, self.projection(self.norm(x)[:, -1])


class Amused(nn.Module):
    def __init__(self, width=1024, channels=768, layers=22, codes=8192, vocabulary=8256, side=16):
        super().__init__()
        self.codes, self.vocabulary, self.side = codes, vocabulary, side
        self.text = TextEncoder()
        self.states, self.states_norm = nn.Linear(768, width, bias=False), RmsNorm(width, 1e-6)
        self.told1, self.told2 = nn.Linear(768 + 5 * 256, width, bias=False), nn.Linear(width, width, bias=False)
        self.tokens, self.token_norm, self.mix = nn.Embedding(vocabulary, channels), RmsNorm(channels, 1e-6), nn.Conv2d(channels, channels, 1, bias=False)
        self.before, self.after = (nn.ModuleList(m for _ in range(3) for m in (ConvolutionBlock(channels, width), TextBlock(channels, width, 12))) for _ in range(2))
        self.in_norm, self.inward = RmsNorm(channels, 1e-6), nn.Linear(channels, width, bias=False)
        self.layers = nn.ModuleList(Layer(width, 16, 2816) for _ in range(layers))
        self.out_norm, self.outward = RmsNorm(width, 1e-6), nn.Linear(width, channels, bias=False)
        self.head1, self.head_norm, self.head2 = nn.Conv2d(channels, channels, 1, bias=False), RmsNorm(channels, 1e-6), nn.Conv2d(channels, codes, 1, bias=False)
        self.codebook, self.widen = nn.Embedding(codes, 64), nn.Conv2d(64, 64, 1)
        self.decoder = decoder((768, 512, 256, 256, 128), 3, 64, False)

    def logits(self, tokens, states, pooled, micro):
        """tokens [N, h, w]; of N texts."""
        states = self.states_norm(self.states(states))
        frequencies = torch.exp(torch.arange(128) * (-math.log(10000) / 128))
        angles = micro.unsqueeze(-1) * frequencies
        c = self.told2(F.silu(self.told1(torch.cat([pooled, torch.cat([angles.cos(), angles.sin()], -1).flatten(1)], 1))))
        x = self.mix(self.token_norm(self.tokens(tokens)).permute(0, 3, 1, 2))
        for i, part in enumerate(self.before):
            x = part(x, states if i % 2 else c)
        n, channels, h, w = x.shape
        y = self.inward(self.in_norm(x.flatten(2).transpose(1, 2)))
        for layer in self.layers:
            y = layer(y, states, c)
        x = self.outward(self.out_norm(y)).transpose(1, 2).reshape(n, channels, h, w)
        for i, part in enumerate(self.after):
            x = part(x, states if i % 2 else c)
        x = self.head_norm(self.head1(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.head2(x)

    def picture(self, steps=12, guidance=10.0):
        cells, mask = self.side * self.side, self.vocabulary - 1
        states, pooled = self.text(torch.randint(49406, (2, 77)))
        micro = torch.tensor([[16.0 * self.side, 16.0 * self.side, 0.0, 0.0, 6.0]]).repeat(2, 1)
        tokens = torch.full((1, cells), mask)
        for step in range(steps):
            both = self.logits(tokens.view(1, self.side, self.side).repeat(2, 1, 1), states, pooled, micro)
            unconditional, conditional = both.float().flatten(2).transpose(1, 2).chunk(2)
            p = torch.softmax(unconditional + guidance * (conditional - unconditional), -1)
            known = tokens != mask
            drawn = torch.where(known, tokens, torch.multinomial(p.flatten(0, 1), 1).view(1, cells))
            if step + 1 == steps:
                return self.decode(drawn)
            left = int(cells * math.cos((step + 1) / steps * math.pi / 2))
            left = max(1, min(int((~known).sum()) - 1, left))
            surest = p.gather(-1, drawn.clamp(0, self.codes - 1).unsqueeze(-1)).squeeze(-1).log()
            noise = -torch.log(-torch.log(torch.rand(1, cells)))
            surest = (surest + 2 * (1 - (step + 1) / steps) * noise).masked_fill(known, float("inf"))
            tokens = torch.where(surest < surest.sort(-1).values[:, left : left + 1], torch.full_like(drawn, mask), drawn)

    def decode(self, tokens):
        z = self.codebook(tokens).transpose(1, 2).reshape(1, 64, self.side, self.side)
        return self.decoder(self.widen(z)).clamp(-1, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=[*(f"halton-{size}" for size in HaltonMaskGit.SIZES), "amused-256"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=1, help="after one that is not counted")
    parser.add_argument("--bfloat16", action="store_true", help="autocast")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    model = (Amused() if options.model.startswith("amused") else HaltonMaskGit(options.model.split("-")[1])).eval()
    times, processor = [], []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
        for _ in range(options.pictures + 1):
            begin, used = time.perf_counter(), time.process_time()
            model.picture()
            times.append(time.perf_counter() - begin)
            processor.append(time.process_time() - used)
    print(json.dumps({"seconds": times[1:], "processor_seconds": processor[1:], "weights": sum(p.numel() for p in model.parameters())}))


if __name__ == "__main__":
    main()
