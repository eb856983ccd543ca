"""Milliseconds of the paper's networks in PyTorch under several settings, as JSON: the best of each is the peer's figure."""
import argparse
import json
import statistics
import sys
import time

import torch

from networks import Denoiser, Encoder, Generator


def median_ms(work, repeats):
    work()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def settings(threads):
    for count in threads:
        for low in (False, True):
            for channels_last in (False, True):
                for script in (False, True):
                    yield count, low, channels_last, script


def measure(network, inputs, repeats, threads, is_image):
    results = {}
    for count, low, channels_last, script in settings(threads):
        if channels_last and not is_image:
            continue
        if low and script:
            continue  # autocast inside a frozen script is not supported by PyTorch 1.13
        torch.set_num_threads(count)
        model = network().eval()
        if channels_last:
            model = model.to(memory_format=torch.channels_last)
        name = f"{'bfloat16 autocast' if low else 'float32'}{', channels-last' if channels_last else ''}{', TorchScript' if script else ''}, {count} threads"
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=low):
            if script:
                model = torch.jit.freeze(torch.jit.trace(model, inputs, check_trace=False))
            results[name] = median_ms(lambda: model(inputs), repeats)
        print(f"  {name}: {results[name]:.1f} ms", file=sys.stderr)
    best = min(results, key=results.get)
    plain = min((name for name in results if name.startswith("float32")), key=results.get)
    return {"best_ms": results[best], "best": best, "float32_ms": results[plain], "float32": plain, "all": results}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", default=["denoiser_batch_1", "denoiser_batch_8", "encode", "decode"])
    options = parser.parse_args()
    torch.manual_seed(0)
    cases = {
        "denoiser_batch_1": (Denoiser, torch.full((1, 256), 1024), False),
        "denoiser_batch_8": (Denoiser, torch.full((8, 256), 1024), False),
        "encode": (Encoder, torch.rand(1, 3, 256, 256), True),
        "decode": (Generator, torch.zeros(1, 16, 16, dtype=torch.long), True),
    }
    report = {"torch": torch.__version__}
    for name in options.only:
        print(name, file=sys.stderr)
        network, inputs, is_image = cases[name]
        report[name] = measure(network, inputs, options.repeats, options.threads, is_image)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
