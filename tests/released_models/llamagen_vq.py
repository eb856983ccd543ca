"""The tensors of LlamaGen's VQ models at the published sizes: names and shapes."""

CODES, EMBEDDING = 16384, 8
MULTIPLIERS = {16: (1, 1, 2, 2, 4), 8: (1, 2, 2, 4)}  # by pixels a cell
USED = 65536  # entries of a training counter that the files hold, too


def vq_shapes(pixels=16, base=128, blocks=2, latent=256):
    """Of VQ-16 or VQ-8: `pixels` a cell's side."""
    shapes, multipliers = {}, MULTIPLIERS[pixels]

    def convolution(name, into, out, kernel):
        shapes[name + ".weight"] = [out, into, kernel, kernel]
        shapes[name + ".bias"] = [out]

    def norm(name, width):
        shapes[name + ".weight"] = [width]
        shapes[name + ".bias"] = [width]

    def residual(name, into, out):
        norm(name + ".norm1", into)
        convolution(name + ".conv1", into, out, 3)
        norm(name + ".norm2", out)
        convolution(name + ".conv2", out, out, 3)
        if into != out:
            convolution(name + ".nin_shortcut", into, out, 1)

    def attention(name, width):
        norm(name + ".norm", width)
        for part in ("q", "k", "v", "proj_out"):
            convolution(f"{name}.{part}", width, width, 1)

    widths = [base * multiplier for multiplier in multipliers]
    last = len(widths) - 1
    for side, count in (("encoder", blocks), ("decoder", blocks + 1)):
        order = widths if side == "encoder" else widths[::-1]
        width = base if side == "encoder" else widths[-1]
        convolution(side + ".conv_in", 3 if side == "encoder" else latent, width, 3)

        def middle():
            residual(side + ".mid.0", widths[-1], widths[-1])
            attention(side + ".mid.1", widths[-1])
            residual(side + ".mid.2", widths[-1], widths[-1])

        for level, out in enumerate(order):
            prefix = f"{side}.conv_blocks.{level}."
            for block in range(count):
                residual(f"{prefix}res.{block}", width, out)
                width = out
                if level == (last if side == "encoder" else 0):
                    attention(f"{prefix}attn.{block}", width)
            if level < last:
                convolution(prefix + ("downsample" if side == "encoder" else "upsample") + ".conv", width, width, 3)
        middle()
        norm(side + ".norm_out", width)
        convolution(side + ".conv_out", width, latent if side == "encoder" else 3, 3)
    shapes["quantize.codebook_used"] = [USED]
    shapes["quantize.embedding.weight"] = [CODES, EMBEDDING]
    convolution("quant_conv", latent, EMBEDDING, 1)
    convolution("post_quant_conv", EMBEDDING, latent, 1)
    return shapes
