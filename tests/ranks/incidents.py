"""Incidents in trainings that several hosts share: ranks killed and stopped, links cut and delayed, at random moments.

After each the others must have ended in time, in one line each; then the training is gone on with, on another number of ranks. It must end with the
bits of a run that nothing happened to. A delayed link is no incident to end for: that run must come to its end.
"""
import hashlib
import json
import os
import random
import signal
import struct
import subprocess
import time

from hosts import Hosts

STATE = 'training/prior/state.safetensors'
HOSTS, SHARDS, TIMEOUT = 4, 4, 12.0
FLAGS = ('--layers 2 --heads 2 --width 32 --batch-size 8 --shards %d --dropout 0.1 --warmup 3 --validation-terms 2 --validate-every 40 --save-every 15 '
         '--rank-timeout %d -t 1' % (SHARDS, TIMEOUT)).split()


def write_tokens(path, side=4):
    draw = random.Random(4)
    parts = [('train', (30, side, side)), ('validation', (6, side, side))]
    header, data = {'__metadata__': {'codebook_size': '9'}}, b''
    for name, shape in parts:
        count = shape[0] * shape[1] * shape[2]
        bytes_ = struct.pack('<%di' % count, *(draw.randrange(9) for _ in range(count)))
        header[name] = {'dtype': 'I32', 'shape': shape, 'data_offsets': [len(data), len(data) + len(bytes_)]}
        data += bytes_
    text = json.dumps(header).encode()
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text + data)


def digest(path):
    with open(path, 'rb') as file:
        return hashlib.sha256(file.read()).hexdigest()


class Job:
    """One start of a training, one rank a host."""

    def __init__(self, program, folder, hosts, name, ranks, steps, port, flags=()):
        self.processes, self.logs, self.tuns = [], [], hosts
        resume = ['--resume'] if os.path.exists(os.path.join(folder, name, STATE)) else []
        for rank in range(ranks):
            environment = dict(os.environ, RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK='0', MASTER_ADDR=hosts.address(0), MASTER_PORT=str(port), OMP_WAIT_POLICY='passive')
            log = os.path.join(folder, '%s.%d.log' % (name, rank))
            self.logs.append(log)
            words = [program, 'train', 'prior', '--data', os.path.join(folder, 'tokens.safetensors'), '--model', os.path.join(folder, name), '--steps', str(steps), *FLAGS, *flags, *resume]
            with open(log, 'w') as file:
                self.processes.append(subprocess.Popen(hosts.command(rank, words), stdout=file, stderr=file, env=environment))

    def wait(self, ranks, seconds):
        """Whether all of these end in time."""
        until = time.time() + seconds
        for rank in ranks:
            try:
                self.processes[rank].wait(max(0.01, until - time.time()))
            except subprocess.TimeoutExpired:
                return False
        return True

    def kill(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def last_lines(self, rank):
        with open(self.logs[rank], errors='replace') as file:
            return [line.strip() for line in file if line.startswith('tessera: ')]


def run_whole(program, folder, hosts, name, ranks, steps, port, flags=()):
    job = Job(program, folder, hosts, name, ranks, steps, port, flags)
    done = job.wait(range(ranks), 600)
    statuses = [process.poll() for process in job.processes]
    job.kill()
    return done and not any(statuses), job


def incidents(program, folder, wanted, seed):
    program = os.path.abspath(program)
    draw = random.Random(seed)
    write_tokens(os.path.join(folder, 'tokens.safetensors'))
    counts, slowest, broken, port = {}, {}, 0, 29600
    with Hosts(HOSTS) as hosts:
        steps = 400
        began = time.time()
        good, job = run_whole(program, folder, hosts, 'reference', 1, steps, port)
        assert good, job.last_lines(0)
        expected = digest(os.path.join(folder, 'reference', STATE))
        print('a run of %d steps on one rank takes %.1f s' % (steps, time.time() - began), flush=True)
        runs = done = 0
        while done < wanted:
            name = 'run%d' % runs
            runs += 1
            for attempt in range(6):
                ranks = draw.choice((2, 3, 4))
                flags = [word for word, share in (('--shard-optimizer', 0.5), ('--overlap-gradients=false', 0.3)) if draw.random() < share]
                kind = draw.choice(('kill', 'stop', 'cut', 'delay')) if attempt < 5 else 'none'
                port += 1
                began = time.time()
                job = Job(program, folder, hosts, name, ranks, steps, port, flags)
                struck = draw.randrange(ranks)
                job.wait([struck], draw.uniform(0.5, 14))
                if all(process.poll() is not None for process in job.processes):
                    kind = 'none'  # it was done before
                others = [rank for rank in range(ranks) if rank != struck]
                moment = time.time()
                if kind == 'kill':
                    job.processes[struck].kill()
                elif kind == 'stop':
                    job.processes[struck].send_signal(signal.SIGSTOP)
                elif kind == 'cut':
                    hosts.cut[struck] = True
                    others = range(ranks)
                elif kind == 'delay':
                    hosts.delay[struck] = draw.choice((0.002, 0.02, 0.1))
                    job.wait(range(ranks), draw.uniform(2, 8))
                    hosts.delay[struck] = 0.0
                if kind in ('delay', 'none'):
                    in_time = job.wait(range(ranks), 600)
                    statuses = [process.poll() for process in job.processes]
                    fine = in_time and not any(statuses)
                else:
                    in_time = job.wait(others, 60)
                    took = time.time() - moment
                    slowest[kind] = max(slowest.get(kind, 0), took)
                    statuses = [job.processes[rank].poll() for rank in others]
                    # One that had all its steps behind it may have ended well.
                    fine = in_time and all(status == 0 or (status is not None and len(job.last_lines(rank)) == 1) for rank, status in zip(others, statuses))
                job.kill()
                hosts.cut = [False] * HOSTS
                if kind != 'none':
                    done += 1
                    counts[kind] = counts.get(kind, 0) + 1
                if not fine:
                    broken += 1
                    print('%s, %s of rank %d of %d after %.1f s: in time %s, statuses %s, %s' % (name, kind, struck, ranks, moment - began, in_time, statuses, [job.last_lines(rank) for rank in range(ranks)]), flush=True)
                if kind in ('delay', 'none'):
                    break
            if digest(os.path.join(folder, name, STATE)) != expected:
                broken += 1
                print('%s: another end than a run that nothing happened to' % name, flush=True)
            if runs % 5 == 0:
                print('%d incidents in %d runs (%s), the others ended within %s; %d promises broken' % (done, runs, counts, {k: round(v, 1) for k, v in slowest.items()}, broken), flush=True)
    print('%d incidents in %d runs (%s), the others ended within %s s: %d promises broken' % (done, runs, counts, {k: round(v, 1) for k, v in slowest.items()}, broken))
    return broken
