#!/usr/bin/env python3
"""Runs `bench_training_steps` and the PyTorch peer in turn on this machine and prints both, with ratios.

    bench/peers/compare_training.py build/release/bin/bench_training_steps DATA [--steps 20] [--rounds 2]

DATA: pictures of 64 pixels or more, or a pack of them. Needs the distribution's python3-torch. Figures are the least of the rounds.
"""
import argparse
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
OURS = {"codec": "codec", "absorbing, no condition": "prior"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("data")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    ours, peers = {}, {}
    for _ in range(options.rounds):
        for threads in options.threads:
            text = subprocess.run([options.program, str(threads), str(options.steps), options.data], stdout=subprocess.PIPE, check=True, text=True).stdout
            for name, milliseconds in re.findall(r"^(.+?) +([\d.]+) ms a step", text, re.M):
                if name in OURS:
                    value = (float(milliseconds), f"{threads} threads")
                    ours[OURS[name]] = min(ours.get(OURS[name], value), value)
        done = subprocess.run([sys.executable, os.path.join(HERE, "training.py"), "--steps", str(options.steps), "--threads", *map(str, options.threads)],
                              stdout=subprocess.PIPE, check=True, cwd=HERE)
        report = json.loads(done.stdout)
        for name in OURS.values():
            value = (report[name]["best_ms"], report[name]["best"])
            peers[name] = min(peers.get(name, value), value)
    print("| a step of | Tessera, ms | PyTorch at its best, ms | times faster |")
    print("| --- | --- | --- | --- |")
    for name in OURS.values():
        print(f"| {name} | {ours[name][0]:.1f} ({ours[name][1]}) | {peers[name][0]:.1f} ({peers[name][1]}) | {peers[name][0] / ours[name][0]:.2f} |")


if __name__ == "__main__":
    main()
