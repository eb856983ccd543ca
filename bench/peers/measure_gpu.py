#!/usr/bin/env python3
"""Milliseconds of the paper's networks in PyTorch on a GPU under several settings, as JSON: the best of each is the peer's figure of
`tessera bench --device cuda`. Settings: weights in float32 with autocast, or all in bfloat16; launched one by one, as a CUDA graph, or
(--compile, slow to start) through torch.compile; channels-last for the convolutional networks."""
import argparse
import json
import statistics
import sys
import time

import torch

from networks import Denoiser, Encoder, Generator


def median_ms(work, repeats):
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def as_graph(model, inputs):
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            model(inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        model(inputs)
    return graph.replay


def measure(network, inputs, repeats, is_image, compiled):
    results = {}
    for low in ("float32", "autocast", "bfloat16"):
        model = network().eval().cuda()
        if is_image:
            model = model.to(memory_format=torch.channels_last)
        given = inputs.cuda()
        if low == "bfloat16":
            model = model.bfloat16()
            given = given.bfloat16() if given.is_floating_point() else given
        if is_image and given.dim() == 4:
            given = given.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=low == "autocast", cache_enabled=False):
            results[low] = median_ms(lambda: model(given), repeats)
            results[low + ", CUDA graph"] = median_ms(as_graph(model, given), repeats)
            if compiled and low == "bfloat16":
                fast = torch.compile(model, mode="max-autotune-no-cudagraphs" if compiled == "tuned" else "default")
                fast(given)
                results[low + ", torch.compile, CUDA graph"] = median_ms(as_graph(fast, given), repeats)
        del model
        torch.cuda.empty_cache()
    best = min(results, key=results.get)
    for name, value in results.items():
        print(f"  {name}: {value:.3f} ms", file=sys.stderr)
    return {"best_ms": results[best], "best": best, "float32_ms": min(results["float32"], results["float32, CUDA graph"]), "all": results}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--compile", nargs="?", const="default", choices=["default", "tuned"])
    parser.add_argument("--only", nargs="+")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = False  # as `tessera bench`
    cases = {f"denoiser_batch_{n}": (Denoiser, torch.full((n, 256), 1024), False) for n in (1, 8, 32, 128)}
    for n, ending in ((1, ""), (32, "_batch_32")):
        cases["encode" + ending] = (Encoder, torch.rand(n, 3, 256, 256), True)
        cases["decode" + ending] = (Generator, torch.zeros(n, 16, 16, dtype=torch.long), True)
    report = {"torch": torch.__version__, "device": torch.cuda.get_device_name()}
    for name in options.only or cases:
        print(name, file=sys.stderr)
        network, inputs, is_image = cases[name]
        report[name] = measure(network, inputs, options.repeats, is_image, options.compile)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
