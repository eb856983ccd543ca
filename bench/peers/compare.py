#!/usr/bin/env python3
"""Runs `tessera bench` and the PyTorch peer in turn on this machine and prints both, with ratios.

    bench/peers/compare.py build/release/bin/tessera [--repeats 3] [--rounds 2] [--isa avx2] [--json FILE]

--isa avx2 limits both to AVX2 (avx_vnni: ours may use its dot products of bytes, too; avx512: no tiles).
Needs the distribution's python3-torch. Each round runs every dtype of Tessera and the peer once; figures are the least
of the rounds, since other programs on the machine only ever add to them.
"""
import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# What limits PyTorch's parts: its own kernels, oneDNN, OpenBLAS.
PEER_LIMITS = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}
CASES = ["denoiser_batch_1", "denoiser_batch_8", "encode", "decode"]


def run(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, **more)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tessera")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16", "int8"])
    parser.add_argument("--isa", choices=["avx2", "avx_vnni", "avx512"], help="the most that may be used")
    parser.add_argument("--json", help="file for the whole report")
    options = parser.parse_args()
    ours, peers = {}, {}
    our_limit = dict(os.environ, **({"TESSERA_MAX_CPU_ISA": options.isa} if options.isa else {}))
    peer_limit = dict(os.environ, **(PEER_LIMITS if options.isa in ("avx2", "avx_vnni") else {}))
    for _ in range(options.rounds):
        for threads in options.threads:
            for dtype in options.dtypes:
                report = run([options.tessera, "bench", "--json", "--quick", "--dtype", dtype, "-t", str(threads), "--repeats", str(options.repeats)],
                             env=our_limit)
                for case in CASES:
                    key = (case, dtype)
                    value = (report[case + "_ms"], f"{threads} threads")
                    ours[key] = min(ours.get(key, value), value)
        report = run([sys.executable, os.path.join(HERE, "measure.py"), "--repeats", str(options.repeats), "--threads", *map(str, options.threads)],
                     cwd=HERE, env=peer_limit)
        for case in CASES:
            for kind in ("best", "float32"):
                value = (report[case][kind + "_ms"], report[case][kind])
                peers[case, kind] = min(peers.get((case, kind), value), value)
    print("| | Tessera, ms | PyTorch at its best, ms | times faster | PyTorch float32, ms | times faster |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = []
    for case in CASES:
        for dtype in options.dtypes:
            mine, best, plain = ours[case, dtype], peers[case, "best"], peers[case, "float32"]
            rows.append({"case": case, "dtype": dtype, "tessera": mine, "best": best, "float32": plain})
            print(f"| {case}, {dtype} ({mine[1]}) | {mine[0]:.1f} | {best[0]:.1f} ({best[1]}) | {best[0] / mine[0]:.2f} "
                  f"| {plain[0]:.1f} ({plain[1]}) | {plain[0] / mine[0]:.2f} |")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"peer": report["torch"], "rows": rows}, file, indent=2)


if __name__ == "__main__":
    main()
