"""Writes the paper's networks (../networks.py, random weights) as ONNX graphs: export_networks.py FOLDER

`*_float32.onnx` as PyTorch exports them; `denoiser_*_int8.onnx` with every linear layer as DynamicQuantizeLinear and MatMulInteger, as ONNX Runtime's
dynamic quantisation makes them: activations in unsigned bytes with one scale, weights in signed bytes with a scale a channel.
"""
import os
import sys

import torch
from torch import nn

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from networks import Denoiser, Encoder, Generator  # noqa: E402


class QuantisedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, scale):
        return torch.matmul(x, weight.float()) * scale

    @staticmethod
    def symbolic(g, x, weight, scale):
        bytes_, step, zero = g.op("DynamicQuantizeLinear", x, outputs=3)
        exact = g.op("Cast", g.op("MatMulInteger", bytes_, weight, zero), to_i=1)
        return g.op("Mul", exact, g.op("Mul", step, scale)).setType(x.type().with_sizes([None, None, None]))


class QuantisedLinear(nn.Module):
    def __init__(self, layer):
        super().__init__()
        weight = layer.weight.detach().t().contiguous()
        scale = weight.abs().amax(0) / 127
        self.register_buffer("weight", torch.round(weight / scale).to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

    def forward(self, x):
        product = QuantisedProduct.apply(x, self.weight, self.scale)
        return product if self.bias is None else product + self.bias


def quantise(module):
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, QuantisedLinear(child))
        else:
            quantise(child)
    return module


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(0)

    def export(name, network, inputs):
        torch.onnx.export(network.eval(), inputs, os.path.join(folder, name + ".onnx"), opset_version=16, input_names=["input"])
        print(name, file=sys.stderr)

    with torch.no_grad():
        for batch in (1, 8):
            tokens = torch.full((batch, 256), 1024)
            export(f"denoiser_batch_{batch}_float32", Denoiser(), tokens)
            export(f"denoiser_batch_{batch}_int8", quantise(Denoiser()), tokens)
        export("encode_float32", Encoder(), torch.rand(1, 3, 256, 256))
        export("decode_float32", Generator(), torch.zeros(1, 16, 16, dtype=torch.long))


if __name__ == "__main__":
    main()
