#!/usr/bin/env python3
"""Runs a released model of full size with random weights in Tessera and its peer in PyTorch in turn on this machine and prints both,
with ratios: seconds of one picture of 256x256 pixels, 32 steps with guidance for Halton-MaskGIT, 12 for aMUSEd.

    bench/peers/compare_released.py build/release/bin/tessera halton-tiny=models/random-tiny amused-256=models/random-amused

A model is NAME=BUNDLE: what tests/released_models/make_... wrote, imported. Needs the distribution's python3-torch. Each round runs
every dtype of Tessera and of the peer once; figures are the medians of the rounds, ratios those of the same
round. Tessera's seconds of one more picture are half of what a process with three takes longer than one with one. On a machine that other
programs keep busy --processor-time counts the processor's seconds (all threads'), of one thread with --threads 1.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def run(command, **more):
    """What it printed, the processor's seconds and the MiB that it took at most."""
    done = subprocess.Popen(command, stdout=subprocess.PIPE, **more)
    text = done.stdout.read()
    _, status, used = os.wait4(done.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)}: failed")
    return json.loads(text), used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def tessera(program, bundle, dtype, threads, pictures, more, folder, processor):
    """Pictures of one process: seconds to load (by the processor: and to fill), seconds after that, MiB at most."""
    asked = ["--class", "1"] if "halton" in more[0] else ["-p", "a red bus on a bridge"]
    begin = time.perf_counter()
    report, used, memory = run([program, "generate", "-m", bundle, *asked, "-n", str(pictures), "-b", "1", "--dtype", dtype, "-t", str(threads), "--json",
                  "-q", "-o", os.path.join(folder, "out"), "--earlier", "replace", *more[1:]])
    whole = time.perf_counter() - begin
    return (0, used, memory) if processor else (whole - report["seconds"], report["seconds"], memory)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tessera")
    parser.add_argument("models", nargs="+", metavar="NAME=BUNDLE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "int8"])
    parser.add_argument("--peer-dtypes", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--reused-context-steps", type=int, default=0)
    options = parser.parse_args()
    more = ["--reused-context-steps", str(options.reused_context_steps)] if options.reused_context_steps else []
    print("| model | dtype | load, s | first picture, s | each more, s | memory, MiB |", *(f"PyTorch {kind}, s |" for kind in options.peer_dtypes),
          "MiB | times faster |")
    print("|", " --- |" * (8 + len(options.peer_dtypes)), sep="")
    for model in options.models:
        name, bundle = model.split("=", 1)
        ours = {dtype: [] for dtype in options.dtypes}
        peers = {kind: [] for kind in options.peer_dtypes}
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(options.rounds):
                for dtype in options.dtypes:
                    load, first, memory = tessera(options.tessera, bundle, dtype, options.threads, 1, [name, *more], folder, options.processor_time)
                    _, three, _ = tessera(options.tessera, bundle, dtype, options.threads, 3, [name, *more], folder, options.processor_time)
                    ours[dtype].append((load, first, (three - first) / 2, memory))
                for kind, runs in peers.items():
                    done, _, memory = run([sys.executable, os.path.join(HERE, "released.py"), name, "--threads", str(options.threads),
                                *(["--bfloat16"] if kind == "bfloat16" else [])], cwd=HERE)
                    runs.append((done["processor_seconds" if options.processor_time else "seconds"][0], memory))
        for dtype in options.dtypes:
            load, first, each, memory = (statistics.median(values) for values in zip(*ours[dtype]))
            best = [min(seconds for seconds, _ in same_round) for same_round in zip(*peers.values())]
            ratio = statistics.median(theirs / mine[2] for theirs, mine in zip(best, ours[dtype]))
            seconds = " | ".join(f"{statistics.median(value[0] for value in runs):.2f}" for runs in peers.values())
            mib = min(statistics.median(value[1] for value in runs) for runs in peers.values())
            print(f"| {name} | {dtype} | {load:.1f} | {first:.2f} | {each:.2f} | {memory:.0f} | {seconds} | {mib:.0f} | {ratio:.1f} |",
                  flush=True)


if __name__ == "__main__":
    main()
