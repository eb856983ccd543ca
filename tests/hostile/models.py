"""Checkpoints, configurations, recipes and model folders of strangers."""
import gzip
import io
import json
import os
import pickle
import shutil
import struct
import zipfile


def tensors(header, data=b'', length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text) if length is None else length) + text + data


def archive(data, storages=()):
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', zipfile.ZIP_STORED) as z:
        z.writestr('a/data.pkl', data)
        z.writestr('a/version', '3\n')
        for name, body in storages:
            z.writestr('a/data/' + name, body)
    return out.getvalue()


def u(text):
    text = text.encode()
    return b'X' + struct.pack('<I', len(text)) + text


def i(value):
    return b'J' + struct.pack('<i', value) if -2**31 <= value < 2**31 else b'\x8a\x08' + struct.pack('<q', value)


def tensor(key, count, offset, shape, stride, type_name='FloatStorage', device='cpu'):
    return (b'ctorch._utils\n_rebuild_tensor_v2\n((' + u('storage') + b'ctorch\n' + type_name.encode() + b'\n' + u(key) + u(device) + i(count) + b'tQ' +
            i(offset) + b'(' + b''.join(map(i, shape)) + b't(' + b''.join(map(i, stride)) + b't\x89ccollections\nOrderedDict\n)RtR')


def state(entries):
    return b'\x80\x02}(' + b''.join(u(name) + value for name, value in entries) + b'u.'


def pickles():
    one = bytes(4 << 20)
    doubling = b'\x80\x02' + u('x') + b'q\0' + b''.join(b'(h' + bytes([k]) + b'h' + bytes([k]) + b'tq' + bytes([k + 1]) for k in range(60)) + b'.'
    doubling_dict = b'\x80\x02' + b'}' + u('a') + b'Nsq\0' + b''.join(b'}(' + u('l') + b'h' + bytes([k]) + u('r') + b'h' + bytes([k]) + b'uq' + bytes([k + 1]) for k in range(60)) + b'.'
    views = lambda n: [('w%d' % k, tensor('0', 1 << 20, 0, [1 << 20], [1])) for k in range(n)]
    return {
        'memo-loop': lambda: archive(b'\x80\x02]q\0h\0a.'),
        'memo-loop-dict': lambda: archive(b'\x80\x02}q\0' + u('state_dict') + b'h\0s.'),
        'doubling': lambda: archive(doubling),
        'doubling-dict': lambda: archive(doubling_dict),
        'long1': lambda: archive(b'\x80\x02}' + u('a') + b'\x8a\xff' + b'\x7f' * 255 + b's.'),
        'long4': lambda: archive(b'\x80\x02}' + u('a') + b'\x8b' + struct.pack('<i', 50 << 20) + b'\x7f' * (50 << 20) + b's.'),
        'long4-below': lambda: archive(b'\x80\x02}' + u('a') + b'\x8b' + struct.pack('<i', -1) + b's.'),
        'int-digits': lambda: archive(b'\x80\x02}' + u('a') + b'I' + b'9' * 5_000_000 + b'\ns.'),
        'long-digits': lambda: archive(b'\x80\x02}' + u('a') + b'L' + b'9' * 5_000_000 + b'L\ns.'),
        'text-longer': lambda: archive(b'\x80\x02X' + struct.pack('<I', 0xffffffff) + b'abc.'),
        'text8-longer': lambda: archive(b'\x80\x04\x8d' + struct.pack('<Q', 1 << 62) + b'abc.'),
        'reduce-chain': lambda: archive(b'\x80\x02ccollections\nOrderedDict\n' + b')R' * 1_000_000 + b'.'),
        'reduce-many': lambda: archive(b'\x80\x02](' + b'ccollections\nOrderedDict\n)R' * 400_000 + b'e.'),
        'reduce-large': lambda: archive(b'\x80\x02cos\nsystem\n(' + u('echo x' + ' ' * 1_000_000) + b'tR.'),
        'marks': lambda: archive(b'\x80\x02' + b'(' * 5_000_000 + b'.'),
        'lists-deep': lambda: archive(b'\x80\x02' + b']' * 500_000 + b'a' * 499_999 + b'.'),
        'tuples-deep': lambda: archive(b'\x80\x02' + b')' + b'\x85' * 2_000_000 + b'.'),
        'memo-far': lambda: archive(b'\x80\x02Nr\xff\xff\xff\x7f.'),
        'memo-many': lambda: archive(b'\x80\x02N' + b''.join(b'r' + struct.pack('<I', k) for k in range(1_000_000)) + b'.'),
        'floats': lambda: archive(b'\x80\x02](' + b'G' + bytes(8) + (b'G' + bytes(8)) * 3_000_000 + b'e.'),
        'nones': lambda: archive(b'\x80\x02](' + b'N' * 20_000_000 + b'e.'),
        'views': lambda: archive(state(views(3000)), [('0', one)]),
        'views-state-dict': lambda: archive(b'\x80\x02}' + u('state_dict') + state(views(3000))[2:-1] + b's.', [('0', one)]),
        'stride-zero': lambda: archive(state([('w%d' % k, tensor('0', 4, 0, [1 << 15, 1 << 15], [0, 0])) for k in range(8)]), [('0', bytes(16))]),
        'shape-overflow': lambda: archive(state([('w', tensor('0', 4, 0, [1 << 40, 1 << 40], [1, 1]))]), [('0', bytes(16))]),
        'shape-below': lambda: archive(state([('w', tensor('0', 4, -8, [-4], [-1]))]), [('0', bytes(16))]),
        'storage-larger': lambda: archive(state([('w', tensor('0', 1 << 40, 0, [1 << 40], [1]))]), [('0', bytes(16))]),
        'dimensions': lambda: archive(state([('w', tensor('0', 4, 0, [1] * 100_000, [1] * 100_000))]), [('0', bytes(16))]),
        'empty-shapes': lambda: archive(state([('w%d' % k, tensor('0', 4, 0, [0, 1 << 50, 1 << 50], [1, 1, 1])) for k in range(100)]), [('0', bytes(16))]),
        'python-2-names': lambda: archive(b'\x80\x02c' + b'a' * 1_000_000 + b'\n' + b'b' * 1_000_000 + b'\n.'),
        'legacy-magic': lambda: pickle.dumps(0x1950a86a20f9469cfc6c, 2) + pickle.dumps(1001, 2) + pickle.dumps({'little_endian': True}, 2) + b'\x80\x02' + b'(' * 2_000_000 + b'.',
        'deflated': lambda: deflated(),
        'names-many': lambda: archive(b'\x80\x02}.', [('%d' % k, b'') for k in range(60_000)]),
        'no-stop': lambda: archive(b'\x80\x02' + b'N' * 1_000_000),
        'pops': lambda: archive(b'\x80\x02' + b'0' * 100 + b'.'),
    }


def deflated():
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED, compresslevel=9) as z:
        with z.open('a/data.pkl', 'w') as entry:
            for _ in range(500):
                entry.write(b'N' * (1 << 20))
        z.writestr('a/version', '3\n')
    return out.getvalue()


def safetensors():
    one = {'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 16]}
    return {
        'overlap': lambda: tensors({'a': one, 'b': one}, bytes(16)),
        'gap': lambda: tensors({'a': one}, bytes(64)),
        'twice': lambda: tensors(b'{"a":%s,"a":%s}' % (json.dumps(one).encode(), json.dumps(one).encode()), bytes(16)),
        'shape-huge': lambda: tensors({'a': {'dtype': 'F32', 'shape': [1 << 62, 1 << 62], 'data_offsets': [0, 16]}}, bytes(16)),
        'shape-zero': lambda: tensors({'a': {'dtype': 'F32', 'shape': [0, 1 << 40, 1 << 40], 'data_offsets': [0, 0]}}),
        'dimensions': lambda: tensors({'a': {'dtype': 'F32', 'shape': [1] * 100_000, 'data_offsets': [0, 4]}}, bytes(4)),
        'offsets-below': lambda: tensors({'a': {'dtype': 'F32', 'shape': [4], 'data_offsets': [-16, 0]}}, bytes(16)),
        'offsets-float': lambda: tensors({'a': {'dtype': 'F32', 'shape': [4], 'data_offsets': [0.0, 1e30]}}, bytes(16)),
        'header-long': lambda: tensors(b'{}', b'', 1 << 63),
        'header-15-mib': lambda: tensors(b'{"__metadata__":{"a":"' + b'x' * (15 << 20) + b'"}}'),
        'header-spaces': lambda: tensors(b'{' + b' ' * (15 << 20) + b'}'),
        'header-deep': lambda: tensors(b'{"a":' + b'[' * 3_000_000),
        'metadata-many': lambda: tensors(b'{"__metadata__":{' + b','.join(b'"k%d":""' % k for k in range(1_000_000)) + b'}}'),
        'metadata-same': lambda: tensors(b'{"__metadata__":{' + b','.join([b'"k":""'] * 1_500_000) + b'}}'),
        'tensors-many': lambda: tensors({'t%d' % k: {'dtype': 'U8', 'shape': [0], 'data_offsets': [0, 0]} for k in range(150_000)}),
        'name-long': lambda: tensors({'n' * 5_000_000: {'dtype': 'F99', 'shape': [0], 'data_offsets': [0, 0]}}),
        'escapes': lambda: tensors({'\x1b[31m\x07' * 1000: {'dtype': 'U8', 'shape': [1], 'data_offsets': [0, 0]}}),
        'float8-large': lambda: tensors({'a': {'dtype': 'F8_E4M3', 'shape': [400 << 20], 'data_offsets': [0, 400 << 20]}}, bytes(400 << 20)),
        'tokens-large': lambda: tensors({'tokens': {'dtype': 'I64', 'shape': [1, 1 << 13, 1 << 12], 'data_offsets': [0, 1 << 28]}}, bytes(1 << 28)),
        'tokens-u8': lambda: tensors({'tokens': {'dtype': 'U8', 'shape': [1, 16384, 16384], 'data_offsets': [0, 1 << 28]}}, bytes(1 << 28)),
        'tokens-many': lambda: tensors({'tokens': {'dtype': 'U8', 'shape': [10_000_000, 1, 1], 'data_offsets': [0, 10_000_000]}}, bytes(10_000_000)),
        'truth': lambda: tensors({'a': {'dtype': 'BOOL', 'shape': [4], 'data_offsets': [0, 4]}}, b'\x02\x03\xff\0'),
    }


def yamls():
    laughs = b'a: &a ["l","l","l","l","l","l","l","l","l"]\n'
    for k in range(9):
        laughs += b'%c: &%c [%s]\n' % (98 + k, 98 + k, b','.join([b'*%c' % (97 + k)] * 9))
    maps = b'a: &a {x: 1}\n' + b''.join(b'%s: &%s {p: *%s, q: *%s}\n' % ((b'k%d' % k,) * 2 + ((b'k%d' % (k - 1)) if k else b'a',) * 2) for k in range(40))
    return {
        'laughs': lambda: laughs + b'model: *j\n',
        'laughs-maps': lambda: maps + b'model: *k39\n',
        'merge': lambda: b'a: &a {x: 1}\n' + b'b: {<<: [' + b'*a,' * 500_000 + b'*a]}\n',
        'anchor-self': lambda: b'model: &a {params: *a}\n',
        'anchors-many': lambda: b''.join(b'- &a%d x\n' % k for k in range(300_000)),
        'deep-flow': lambda: b'model: ' + b'[' * 500_000,
        'deep-block': lambda: b''.join(b' ' * k + b'a:\n' for k in range(5000)),
        'deep-dashes': lambda: b'- ' * 500_000 + b'a\n',
        'keys-many': lambda: b''.join(b'k%d: v\n' % k for k in range(400_000)),
        'keys-complex': lambda: b'? ' * 100_000 + b'a\n',
        'scalar-long': lambda: b'model: "' + b'x' * (20 << 20) + b'"\n',
        'documents': lambda: b'---\n' * 500_000,
        'tags': lambda: b'model: !!python/object/apply:os.system ["true"]\n',
        'zeros': lambda: bytes(1 << 20),
        'numbers': lambda: b'model: {target: taming.models.vqgan.VQModel, params: {embed_dim: 999999999999, n_embed: 999999999999, ddconfig: {ch: 1000000000, ch_mult: [' + b'9,' * 100_000 + b'9], num_res_blocks: 1000000000, resolution: 1000000000, z_channels: 1000000000, attn_resolutions: [16], in_channels: 3, out_ch: 3, dropout: 0.0, double_z: false}}}\n',
    }


def recipes():
    return {
        'dotted': lambda: b'[codec]\n' + b'a.' * 300_000 + b'a = 1\n',
        'tables-dotted': lambda: b'[' + b'a.' * 300_000 + b'a]\n',
        'arrays-deep': lambda: b'[codec]\na = ' + b'[' * 1_000_000,
        'inline-deep': lambda: b'[codec]\na = ' + b'{a=' * 300_000,
        'tables-many': lambda: b''.join(b'[t%d]\n' % k for k in range(500_000)),
        'array-tables': lambda: b'[[codec]]\n' * 600_000,
        'array-long': lambda: b'[codec]\nchannel_multipliers = [' + b'1,' * 2_000_000 + b'1]\n',
        'string-long': lambda: b'[codec]\nprecision = "' + b'x' * (10 << 20) + b'"\n',
        'string-open': lambda: b'[codec]\nprecision = """' + b'x\n' * 3_000_000,
        'number-long': lambda: b'[codec]\nsteps = ' + b'9' * 2_000_000 + b'\n',
        'date': lambda: b'[codec]\nsteps = 9999-99-99T99:99:99Z\n',
        'values-huge': lambda: b'[codec]\nimage_size = 1073741824\nembedding_width = 1073741824\ncodebook_size = 1073741824\n',
        'layers-huge': lambda: b'[codec]\nblocks_per_level = 1000000000\nimage_size = 16\n',
        'batch-huge': lambda: b'[codec]\nbatch_size = 1000000000\nimage_size = 16\n',
        'multipliers-many': lambda: b'[codec]\nimage_size = 16\nchannel_multipliers = [' + b'1, ' * 300 + b'1]\n',
        'base-huge': lambda: b'[codec]\nimage_size = 16\nbase_channels = 1000000\nchannel_multipliers = [1,1,1]\n',
        'escapes': lambda: b'[codec]\n"\\u001b[31m" = 1\n',
        'zeros': lambda: bytes(1 << 20),
    }


def bundles(source):
    """name -> function that makes a hostile bundle of a copy of the text model"""
    def with_file(name, data):
        def make(folder):
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if os.path.islink(path) or os.path.exists(path):
                os.remove(path)
            with open(path, 'wb') as file:
                file.write(data())
        return make

    def config(name, change):
        def make(folder):
            path = os.path.join(folder, name)
            value = json.load(open(path))
            change(value)
            json.dump(value, open(path, 'w'))
        return make

    def link(name, target):
        def make(folder):
            path = os.path.join(folder, name)
            os.remove(path)
            os.symlink(target, path)
        return make

    def index(shards):
        def make(folder):
            os.remove(os.path.join(folder, 'vqvae/diffusion_pytorch_model.safetensors'))
            with open(os.path.join(folder, 'vqvae/diffusion_pytorch_model.safetensors.index.json'), 'wb') as file:
                file.write(shards())
        return make

    def fifo(name):
        def make(folder):
            os.remove(os.path.join(folder, name))
            os.mkfifo(os.path.join(folder, name))
        return make
    sets = lambda field, value: lambda c: c.__setitem__(field, value)
    own = lambda field, value: lambda c: c['tessera'].__setitem__(field, value)
    merges = lambda: b'#version: 0.2\n' + b''.join(b'a%d b%d\n' % (k, k) for k in range(2_000_000))
    return {
        'part-outside': config('model_index.json', lambda c: c.update({'vqvae': ['../../../etc', 'VQModel'], '../../x': ['a', 'b']})),
        'index-types': config('model_index.json', lambda c: c.update({'vqvae': {'a': 1}, 'transformer': 5, 'tessera': []})),
        'index-deep': with_file('model_index.json', lambda: b'{"a":' * 400_000),
        'index-huge': with_file('model_index.json', lambda: b'{"a":"' + b'x' * (30 << 20) + b'"}'),
        'sampling-suggestion': config('scheduler/config.json', lambda c: c.setdefault('tessera', {}).__setitem__('sampling', {'steps': 10**18, 'sampler': '\x1b[31m' * 10000, 'temperature': 1e308})),
        'multipliers-many': config('vqvae/config.json', sets('block_out_channels', [32] * 200_000)),
        'codes-many': config('vqvae/config.json', sets('num_vq_embeddings', 1 << 62)),
        'numbers-infinite': with_file('vqvae/config.json', lambda: b'{"_class_name":"VQModel","num_vq_embeddings":1e999,"block_out_channels":[1e400]}'),
        'numbers-below': config('vqvae/config.json', sets('num_vq_embeddings', -(1 << 62))),
        'layers-many': config('vqvae/config.json', sets('layers_per_block', 1 << 30)),
        'prior-layers': config('transformer/config.json', sets('num_layers', 1 << 40)),
        'prior-heads': config('transformer/config.json', sets('num_attention_heads', 1 << 40)),
        'sample-size': config('transformer/config.json', sets('sample_size', 65536)),
        'prior-vectors': config('transformer/config.json', sets('num_vector_embeds', 1 << 40)),
        'text-length': config('text_encoder/config.json', sets('max_position_embeddings', 1 << 40)),
        'text-layers': config('text_encoder/config.json', sets('num_hidden_layers', 1 << 40)),
        'steps-many': config('scheduler/config.json', sets('num_vec_classes', 1 << 40)),
        'shards-outside': index(lambda: json.dumps({'weight_map': {'a': '../../../../etc/passwd'}}).encode()),
        'shards-many': index(lambda: json.dumps({'weight_map': {'t%d' % k: 's%d.safetensors' % k for k in range(300_000)}}).encode()),
        'shards-name': index(lambda: json.dumps({'weight_map': {'a': 'x' * 5_000_000}}).encode()),
        'weights-link-device': link('vqvae/diffusion_pytorch_model.safetensors', '/dev/zero'),
        'config-link-device': link('vqvae/config.json', '/dev/zero'),
        'config-fifo': fifo('vqvae/config.json'),
        'weights-fifo': fifo('vqvae/diffusion_pytorch_model.safetensors'),
        'vocab-many': with_file('tokenizer/vocab.json', lambda: json.dumps({'w%d' % k: k for k in range(2_000_000)}).encode()),
        'vocab-numbers': with_file('tokenizer/vocab.json', lambda: json.dumps({'a': 1 << 62, 'b': -5, 'c': 1.5}).encode()),
        'vocab-key': with_file('tokenizer/vocab.json', lambda: json.dumps({'x' * (20 << 20): 0}).encode()),
        'merges-many': with_file('tokenizer/merges.txt', merges),
        'merges-line': with_file('tokenizer/merges.txt', lambda: b'x' * (40 << 20)),
        'tokenizer-json': with_file('tokenizer/tokenizer.json', lambda: b'{"model":{"vocab":{' + b','.join(b'"w%d":%d' % (k, k) for k in range(1_000_000)) + b'},"merges":["a b"]}}'),
        'tokenizer-json-merges': with_file('tokenizer/tokenizer.json', lambda: b'{"model":{"vocab":{"a":0},"merges":[' + b','.join([b'"a b"'] * 1_500_000) + b']}}'),
        'tokenizer-gz': only_gz,
        'readme-huge': with_file('README.md', lambda: b'x' * (50 << 20)),
        'readme-escapes': with_file('README.md', lambda: b'\x1b]0;x\x07\x1b[31m' * 1000),
    }


def only_gz(folder):
    for name in os.listdir(os.path.join(folder, 'tokenizer')):
        os.remove(os.path.join(folder, 'tokenizer', name))
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode='wb', compresslevel=9) as file:
        for _ in range(1000):
            file.write(b'a b\n' * (1 << 18))
    with open(os.path.join(folder, 'tokenizer/bpe_simple_vocab_16e6.txt.gz'), 'wb') as file:
        file.write(packed.getvalue())


def copy_of(source, folder):
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
