"""Each trainer on 1, 2, 4 and 8 ranks of one host, on four hosts, and under PyTorch's torchrun: the weights must be the same bits.

A codec with discriminator and EMA codebook, an absorbing, a mask-and-replace (text) and an autoregressive prior, 50 steps of 8 shards each.
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zlib

from hosts import Hosts

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PRIOR = '--layers=2 --heads=2 --width=32 --batch-size=16 --shards=8 --dropout=0.1 --warmup=3 --validation-terms=2 --keep=latest'
TRAINERS = {
    'codec': ('codec', '--image-size=16 --channel-multipliers=1,1,1 --attention-resolutions=4 --embedding-width=8 --codebook-size=16 --batch-size=16 --shards=8 --adversarial=true '
              '--quantizer=ema --disc-start-step=3 --discriminator-channels=4 --discriminator-layers=1 --reseed-every=5 --flip=true --crop-scale=1.3 --warmup=3'),
    'absorbing': ('prior', PRIOR + ' --time-sampling=importance'),
    'mask-and-replace': ('prior', PRIOR + ' --process=mask-and-replace --condition=text --text-width=32 --text-layers=1 --text-length=8 --text-merges=10 --total-steps=10'),
    'autoregressive': ('prior', PRIOR.replace('terms=2', 'terms=16') + ' --prior=autoregressive'),
}
# PyTorch 1.13's torchrun reads the default of its --redirects wrongly under Python 3.11 and newer, whose flags of value 0 are not iterated over.
MEND = "import torch.distributed.elastic.multiprocessing as m, torch.distributed.run as r; r.Std.from_str = classmethod(lambda c, v: c(int(v))); r.main()"
TORCHRUN = [sys.executable, '-c', MEND, '--no_python', '--nnodes', '1']


def make_pictures(folder):
    sys.path.insert(0, os.path.join(ROOT, 'tests', 'hostile'))
    import pictures
    os.makedirs(folder)
    with open(os.path.join(folder, 'metadata.jsonl'), 'w') as table:
        for i in range(40):
            rows = b''.join(b'\0' + bytes((x * (i + 3) + y * k) % 256 for x in range(16) for k in (1, 2, 3)) for y in range(16))
            with open(os.path.join(folder, '%03d.png' % i), 'wb') as file:
                file.write(pictures.png(16, 16, data=zlib.compress(rows)))
            table.write(json.dumps({'file_name': '%03d.png' % i, 'text': 'pattern number %d' % i}) + '\n')


def digest(folder, part):
    """Of everything that a run learned: weights, averages, optimiser, codebook, and the bundle's."""
    whole = hashlib.sha256()
    for name in ('training/%s/state.safetensors' % part, '%s/diffusion_pytorch_model.safetensors' % ('vqvae' if part == 'codec' else 'transformer')):
        with open(os.path.join(folder, name), 'rb') as file:
            whole.update(file.read())
    return whole.hexdigest()


def has_torchrun():
    return subprocess.run([sys.executable, '-c', 'import torch.distributed.run'], capture_output=True).returncode == 0


def same_bits(program, folder, steps=50):
    program = os.path.abspath(program)
    data, codec = os.path.join(folder, 'data'), os.path.join(folder, 'codec-of-priors')
    make_pictures(data)
    broken, port = 0, 29700
    environment = dict(os.environ, OMP_WAIT_POLICY='passive')
    torchrun = has_torchrun()
    if not torchrun:
        print('torchrun is not there (python3-torch of %s): left out' % sys.executable)

    def words(trainer, name):
        part, flags = TRAINERS[trainer]
        where = os.path.join(folder, name)
        if part == 'prior' and not os.path.exists(where):
            shutil.copytree(codec, where)
        return [program, 'train', part, '--data', data, '--out' if part == 'codec' else '--model', where, '--steps', str(steps), *flags.split(), '-t', '1']

    def together(commands, variables=()):
        began = time.time()
        variables = list(variables) or [{}] * len(commands)
        running = [subprocess.Popen(command, env=dict(environment, **more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for command, more in zip(commands, variables)]
        said = [process.communicate()[0] for process in running]
        failed = [text for process, text in zip(running, said) if process.returncode]
        return time.time() - began, failed

    with Hosts(4) as hosts:
        for trainer, (part, _) in TRAINERS.items():
            expected = None
            ways = ['1', '2', '4', '8', '4 hosts', *(['torchrun'] if torchrun else [])]
            for way in ways:
                name = '%s-%s' % (trainer, way.replace(' ', '-'))
                command = words(trainer, name)
                port += 1
                if way == '4 hosts':
                    seconds, failed = together([hosts.command(rank, command) for rank in range(4)],
                                               [{'RANK': str(rank), 'WORLD_SIZE': '4', 'LOCAL_RANK': '0', 'MASTER_ADDR': hosts.address(0), 'MASTER_PORT': str(port)} for rank in range(4)])
                elif way == 'torchrun':
                    seconds, failed = together([[*TORCHRUN, '--nproc_per_node', '4', '--master_addr', '127.0.0.1', '--master_port', str(port), *command]])
                else:
                    seconds, failed = together([[*command, '--processes', way]])
                found = None if failed else digest(os.path.join(folder, name), part)
                expected = expected or found
                if failed:
                    print(failed[0][-600:])
                broken += found is None or found != expected
                print('%-17s %-8s %5.1f s  %s' % (trainer, way, seconds, 'failed' if failed else 'the same bits' if found == expected else 'OTHER BITS'), flush=True)
            if trainer == 'codec':
                shutil.copytree(os.path.join(folder, 'codec-1'), codec)
                shutil.rmtree(os.path.join(codec, 'training'))
    print('%d promises broken' % broken)
    return broken
