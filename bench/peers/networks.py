"""The paper's networks (arXiv:2111.12701) as a PyTorch user would write them, with random weights: the peers of `tessera bench`."""
import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        n, cells, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, cells, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        if x.is_cuda and hasattr(F, "scaled_dot_product_attention"):
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = torch.softmax(q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5, -1) @ v
        x = x + self.output(mixed.transpose(1, 2).reshape(n, cells, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Denoiser(nn.Module):
    """Tokens [N, cells] to logits [N, cells, codes]."""

    def __init__(self, layers=24, heads=8, width=512, cells=256, codes=1024):
        super().__init__()
        self.token, self.position = nn.Embedding(codes + 1, width), nn.Parameter(torch.zeros(cells, width))
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, codes, bias=False)

    def forward(self, tokens):
        return self.head(self.norm(self.blocks(self.token(tokens) + self.position)))


class GroupNorm(nn.GroupNorm):
    """On a CPU in float32: PyTorch 1.13 has no group normalisation of bfloat16 with float32 weights, and autocast does not help it."""

    def forward(self, x):
        if x.is_cuda:
            return super().forward(x)
        return super().forward(x.float()).to(x.dtype)


class Residual(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.norm1, self.conv1 = GroupNorm(32, before, eps=1e-6), nn.Conv2d(before, after, 3, padding=1)
        self.norm2, self.conv2 = GroupNorm(32, after, eps=1e-6), nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = GroupNorm(32, width, eps=1e-6)
        self.q, self.k, self.v, self.output = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x):
        n, c, h, w = x.shape
        y = self.norm(x)
        q, k, v = self.q(y).flatten(2), self.k(y).flatten(2), self.v(y).flatten(2)
        scores = torch.softmax(q.transpose(1, 2) @ k * c ** -0.5, -1)
        return x + self.output((v @ scores.transpose(1, 2)).view(n, c, h, w))


class Doubling(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Halving(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Encoder(nn.Module):
    """Pixels [N, 3, H, W] to the nearest codes [N, h, w]."""

    def __init__(self, base=128, multipliers=(1, 1, 2, 2, 4), blocks=2, attention=16, side=256, embedding=256, codes=1024):
        super().__init__()
        layers, width = [nn.Conv2d(3, base, 3, padding=1)], base
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                layers.append(Residual(width, base * multiplier))
                width = base * multiplier
                if side == attention:
                    layers.append(Attention(width))
            if level + 1 < len(multipliers):
                layers.append(Halving(width))
                side //= 2
        layers += [Residual(width, width), Attention(width), Residual(width, width), GroupNorm(32, width, eps=1e-6), nn.SiLU(),
                   nn.Conv2d(width, embedding, 3, padding=1)]
        self.layers = nn.Sequential(*layers)
        self.codebook = nn.Parameter(torch.randn(codes, embedding))

    def forward(self, x):
        z, codebook = self.layers(x).permute(0, 2, 3, 1).float(), self.codebook.float()
        distance = codebook.square().sum(1) - 2 * z @ codebook.t()
        return distance.argmin(-1)


class Generator(nn.Module):
    """Codes [N, h, w] to pixels [N, 3, H, W]."""

    def __init__(self, base=128, multipliers=(1, 1, 2, 2, 4), blocks=2, attention=16, side=16, embedding=256, codes=1024):
        super().__init__()
        width = base * multipliers[-1]
        self.codebook = nn.Embedding(codes, embedding)
        layers = [nn.Conv2d(embedding, width, 3, padding=1), Residual(width, width), Attention(width), Residual(width, width)]
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for _ in range(blocks):
                layers.append(Residual(width, base * multiplier))
                width = base * multiplier
                if side == attention:
                    layers.append(Attention(width))
            if level > 0:
                layers.append(Doubling(width))
                side *= 2
        layers += [GroupNorm(32, width, eps=1e-6), nn.SiLU(), nn.Conv2d(width, 3, 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, codes):
        return self.layers(self.codebook(codes).permute(0, 3, 1, 2))
