#!/usr/bin/env python3
"""What a training costs that several hosts share, and what a model of it says: measured on hosts that this machine makes of network namespaces.

    bench/scaling/scaling.py build/release/bin/tessera [--steps 24] [--repeats 3] [--side 16] [--rates 1000,300,100]

The links have a rate that the kernel keeps (token buckets on veth pairs at a bridge). A step of R ranks is modelled as

    rows of a rank * seconds a row * processes a core + seconds of an update + exchange,
    exchange = bytes that a rank receives / rate + messages * latency,  bytes = 2 (R - 1) / R * weights * bytes a number

with the seconds a row and of an update from runs of one rank with two batch sizes, and messages * latency from a run of two ranks without a limit.
It is then compared with runs of 2 and 4 ranks at each rate, and says what it expects of 8 and 64 hosts. Needs root (ip, tc).
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'ranks'))
from incidents import write_tokens  # noqa: E402


def run(*words):
    subprocess.run(words, check=True, capture_output=True)


class Cluster:
    """count namespaces at one bridge; rate: of what each may send, bits a second (tc's words), None: no limit."""

    made = 0  # names are not used again: what is removed is there for a moment longer

    def __init__(self, count, rate):
        Cluster.made += 1
        tag = os.getpid() % 1000 * 1000 + Cluster.made
        self.bridge = 'br%d' % tag
        self.names = ['scale-%d-%d' % (tag, i) for i in range(count)]
        run('ip', 'link', 'add', self.bridge, 'type', 'bridge')
        run('ip', 'link', 'set', self.bridge, 'up')
        for i, name in enumerate(self.names):
            out = 'v%d_%d' % (tag, i)
            run('ip', 'netns', 'add', name)
            run('ip', 'link', 'add', out, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
            run('ip', 'link', 'set', out, 'master', self.bridge, 'up')
            run('ip', '-n', name, 'address', 'add', '10.78.0.%d/24' % (i + 1), 'dev', 'eth0')
            run('ip', '-n', name, 'link', 'set', 'eth0', 'up')
            run('ip', '-n', name, 'link', 'set', 'lo', 'up')
            if rate:
                run('tc', '-n', name, 'qdisc', 'add', 'dev', 'eth0', 'root', 'tbf', 'rate', rate, 'burst', '256kb', 'latency', '200ms')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(['ip', 'netns', 'del', name], capture_output=True)
        subprocess.run(['ip', 'link', 'del', self.bridge], capture_output=True)


def train(program, folder, ranks, batch, steps, rate=None, flags=()):
    """Seconds a step, seconds a step in exchanges, MB a step that came to rank 0."""
    name = tempfile.mkdtemp(prefix='run-', dir=folder)
    os.rmdir(name)
    words = [program, 'train', 'prior', '--data', os.path.join(folder, 'tokens.safetensors'), '--model', name, '--steps', str(steps), '--batch-size', str(batch), '--shards', '8',
             '--layers', '6', '--heads', '4', '--width', '256', '--validation-terms', '1', '--validation-grids', '1', '--keep', 'latest', '--validate-every', '0', '--save-every', '0',
             '--precision', 'float32', '-t', '1', *flags]
    with Cluster(ranks, rate) as cluster:
        processes = []
        for rank in range(ranks):
            environment = dict(os.environ, RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK='0', MASTER_ADDR='10.78.0.1', MASTER_PORT='29600', OMP_WAIT_POLICY='passive')
            processes.append(subprocess.Popen(['ip', 'netns', 'exec', cluster.names[rank], *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment))
        said = [process.communicate()[1] for process in processes]
    for process, text in zip(processes, said):
        if process.returncode:
            sys.exit(text)
    rates = [json.loads(line) for line in open(os.path.join(name, 'training', 'prior', 'metrics.jsonl'))]
    # Steps one to ten are recorded each, and warm up caches; the last record's rate is of the whole run.
    per_step = batch / [r['images_per_second'] for r in rates if 'images_per_second' in r][-1]
    found = re.search(r'([\d.]+) s of [\d.]+ s went by in exchanges, ([\d.]+) s of them beside the computing, ([\d.]+) MB', said[0])
    exchanged, hidden, received = (float(x) for x in found.groups()) if found else (0, 0, 0)
    return per_step, exchanged / steps, hidden / steps, received / steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('program')
    parser.add_argument('--steps', type=int, default=24)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--side', type=int, default=16, help='cells a side of the grids')
    parser.add_argument('--rates', default='1000,300,100', help='of the links, Mbit/s')
    options = parser.parse_args()
    program = os.path.abspath(options.program)
    cores = os.cpu_count()
    with tempfile.TemporaryDirectory(prefix='tessera-scaling-') as folder:
        write_tokens(os.path.join(folder, 'tokens.safetensors'), side=options.side)

        def median(*of, **more):
            runs = [train(program, folder, *of, steps=options.steps, **more) for _ in range(options.repeats)]
            return [statistics.median(column) for column in zip(*runs)]

        print('load before: %s; %d cores; medians of %d runs of %d steps' % (open('/proc/loadavg').read().split()[0], cores, options.repeats, options.steps), flush=True)
        small, large = median(1, 8)[0], median(1, 32)[0]
        row = (large - small) / 24
        update = small - 8 * row
        free = median(2, 16)
        fixed = free[0] - (8 * row + update)
        weights = free[3] * 1e6 / 4  # a rank of two receives 2 * 1/2 * 4 bytes a weight
        print('one rank: %.1f ms a row, %.1f ms an update; two without a limit: %.1f ms more a step, %.2f MB received a step (%.2f million weights)' % (1e3 * row, 1e3 * update, 1e3 * fixed, free[3], weights / 1e6))

        def model(ranks, batch, rate, numbers=4.0, shared=True):
            computing = batch / ranks * row * (max(1, ranks / cores) if shared else 1)
            return computing + update * (max(1, ranks / cores) if shared else 1) + max(fixed, 0) * (ranks / 2 if shared else 1) + 2 * (ranks - 1) / ranks * weights * numbers / (rate / 8)

        print('| ranks | link, Mbit/s | flags | step, ms | model, ms | off by | in exchanges, ms | beside the computing, ms |\n| --- | --- | --- | --- | --- | --- | --- | --- |')
        for ranks in (2, 4):
            for rate in [int(rate) for rate in options.rates.split(',')]:
                for flags, numbers in (((), 4), (('--gradient-type', 'bfloat16'), 2), (('--overlap-gradients=false',), 4)):
                    step, exchanged, hidden, _ = median(ranks, 16, rate='%dmbit' % rate, flags=flags)
                    expected = model(ranks, 16, rate * 1e6, numbers)
                    print('| %d | %d | %s | %.0f | %.0f | %+.0f %% | %.0f | %.0f |' % (ranks, rate, ' '.join(flags), 1e3 * step, 1e3 * expected, 100 * (expected / step - 1), 1e3 * exchanged, 1e3 * hidden), flush=True)
        print('expected with a core of this machine a host, rows a rank: 16; speed against one host, and the share of a step that is exchange')
        print('| hosts | 1 Gbit/s | 10 Gbit/s | 25 Gbit/s |\n| --- | --- | --- | --- |')
        for hosts in (8, 64):
            cells = []
            for rate in (1e9, 1e10, 2.5e10):
                step = model(hosts, 16 * hosts, rate, shared=False)
                alone = 16 * hosts * row + update
                cells.append('%.1f times, %.0f %%' % (alone / step, 100 * (1 - (16 * row + update) / step)))
            print('| %d | %s |' % (hosts, ' | '.join(cells)))


if __name__ == "__main__":
    main()
