"""One flipped bit at random places of every file that the program stores: found when it is used, named, nothing used."""
import os
import random
import shutil
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PRIOR = '--layers=1 --heads=2 --width=32 --batch-size=4 --validation-terms=2 --threads=1 --validate-every=0'.split()


class Kinds:
    """Files of every kind, made by the program, and what uses each of them."""

    def __init__(self, program, folder, codec):
        self.program, self.folder = os.path.abspath(program), folder
        self.run('train', 'codec', '--data', 'data', '--out', 'm', *codec, '--steps', '4')
        self.prior = ['train', 'prior', '--data', 'data', '--model', 'm', *PRIOR]
        self.run(*self.prior, '--steps', '2')
        self.run('dataset', 'pack', '--data', 'data', '--size', '16', '-o', 'd.tessera-pack')
        self.run('encode', '-m', 'm', '-i', 'data/000.png', '-o', 't.safetensors')
        self.strip = ['generate', '-m', 'm', '-W', '64', '-H', '64', '-t', '1', '--steps', '200', '--partial', 's.partial', '-o', 'o.png']
        self.interrupt(self.strip, self.path('s.partial'))
        shutil.copytree(os.path.join(ROOT, 'models', 'emoji64-text'), self.path('text'))
        self.run('verify', '--record', 'text')
        self.draw = ['generate', '-t', '1', '--steps', '1', '-o', 'o.png']
        caches = os.listdir(self.path('cache/tessera'))
        self.tokens = ['cache/tessera/' + name for name in caches if name.startswith('tokens-')]
        self.packs = ['cache/tessera/' + name for name in caches if name.endswith('.tessera-pack')]

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, *arguments, check=True):
        environment = dict(os.environ, XDG_CACHE_HOME=self.path('cache'), OMP_WAIT_POLICY='passive')
        done = subprocess.run([self.program, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, errors='replace')
        assert done.returncode == 0 or not check, done.stderr
        return done

    def remove(self, name):
        if os.path.isdir(self.path(name)):
            shutil.rmtree(self.path(name))
        elif os.path.exists(self.path(name)):
            os.remove(self.path(name))

    def interrupt(self, arguments, until):
        process = subprocess.Popen([self.program, *arguments], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not os.path.exists(until):
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert os.path.exists(until), 'it was done before it could be interrupted'

    def all(self):
        """kind, its files, the command that uses them; what it makes where they are whole"""
        weights = 'diffusion_pytorch_model.safetensors'
        yield 'codec weights', ['m/vqvae/' + weights], ['encode', '-m', 'm', '-i', 'data/000.png', '-o', 'o.png']
        yield 'prior weights', ['m/transformer/' + weights], [*self.draw, '-m', 'm']
        yield 'state of a codec', ['m/training/codec/state.safetensors'], ['verify', 'm/training/codec/state.safetensors']
        yield 'state of a prior', ['m/training/prior/state.safetensors'], [*self.prior, '--steps', '3', '--resume']
        yield 'token cache', self.tokens, ['verify', *self.tokens]
        yield 'pack of the cache', self.packs, ['verify', *self.packs]
        yield 'pack', ['d.tessera-pack'], ['dataset', 'info', '--data', 'd.tessera-pack']
        yield 'tokens', ['t.safetensors'], ['decode', '-m', 'm', '--tokens', 't.safetensors', '-t', '1', '-o', 'o.png']
        yield 'partial canvas', ['s.partial'], [*self.strip, '--resume']
        texts = [os.path.relpath(os.path.join(place, name), self.folder) for place, _, names in os.walk(self.path('text'))
                 for name in names if name.endswith(('.json', '.txt'))]
        yield 'index of a model', [name for name in texts if 'model_index' in name], [*self.draw, '-m', 'text', '-p', 'a cat']
        yield 'configurations', [name for name in texts if name.endswith('config.json') and 'tokenizer' not in name], [*self.draw, '-m', 'text', '-p', 'a cat']
        yield 'files of the tokenizer', [name for name in texts if '/tokenizer/' in name], [*self.draw, '-m', 'text', '-p', 'a cat']
        yield 'text encoder', ['text/text_encoder/' + weights if os.path.exists(self.path('text/text_encoder/' + weights)) else 'text/text_encoder/model.safetensors'], [*self.draw, '-m', 'text', '-p', 'a cat']


def bits(program, folder, codec, places, words=()):
    """Out: how often a promise was broken."""
    kinds = Kinds(program, folder, codec)
    broken = 0
    random.seed(5)
    for kind, files, command in kinds.all():
        if words and not any(word in kind for word in words):
            continue
        missed = unnamed = 0
        for _ in range(places):
            name = random.choice(files)
            whole = open(kinds.path(name), 'rb').read()
            at = random.randrange(len(whole))
            with open(kinds.path(name), 'r+b') as file:
                file.seek(at)
                file.write(bytes([whole[at] ^ 1 << random.randrange(8)]))
            kinds.remove('o.png')
            done = kinds.run(*command, check=False)
            lines = [line for line in done.stderr.splitlines() if line.startswith('tessera: ')]
            if done.returncode != 1 or len(lines) != 1 or os.path.exists(kinds.path('o.png')):
                missed += 1
                print('%s: byte %d of %s: status %d %s' % (kind, at, name, done.returncode, lines), flush=True)
            elif os.path.basename(name) not in lines[0] and name.split('/')[-2] not in lines[0]:
                unnamed += 1
                print('%s: byte %d of %s: not named: %s' % (kind, at, name, lines[0][:200]), flush=True)
            with open(kinds.path(name), 'wb') as file:
                file.write(whole)
        kinds.remove('o.png')
        done = kinds.run(*command, check=False)
        whole = done.returncode == 0
        if not whole:
            print('%s: put back, status %d: %s' % (kind, done.returncode, done.stderr[-300:]))
        print('%s: %d places of %d files: %d not found, %d not named' % (kind, places, len(files), missed, unnamed), flush=True)
        broken += missed + unnamed + (not whole)
    return broken
