"""Requests that are small and cost much: one server, its memory and processor time looked at after each."""
import base64
import json
import os
import re
import socket
import subprocess
import time

import pictures

MOST_MIB, MOST_SECONDS = 1024, 10


def read_all(peer):
    out = b''
    try:
        while True:
            piece = peer.recv(1 << 16)
            if not piece:
                return out
            out += piece
            if len(out) > 1 << 20:
                return out
    except (socket.timeout, ConnectionError):
        return out


class Server:
    def __init__(self, program, model, folder):
        self.log = open(os.path.join(folder, 'serve.log'), 'w+')
        self.process = subprocess.Popen([program, 'serve', '-m', model, '--port', '0', '-t', '1'], stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.port = int(re.search(r':(\d+)/', self.process.stdout.readline()).group(1))

    def cost(self):
        """(processor seconds so far, MiB at most since the last reset) of the server and its children"""
        total, mib = 0.0, 0.0
        pids = [self.process.pid] + [int(p) for p in os.popen('pgrep -P %d' % self.process.pid).read().split()]
        for pid in pids:
            try:
                fields = open('/proc/%d/stat' % pid).read().rsplit(')', 1)[1].split()
                total += (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
                mib += int(re.search(r'VmHWM:\s+(\d+)', open('/proc/%d/status' % pid).read()).group(1)) / 1024
            except (OSError, AttributeError):
                pass
        return total, mib

    def send(self, raw, wait=60):
        peer = socket.create_connection(('127.0.0.1', self.port), timeout=wait)
        try:
            peer.sendall(raw)
        except (ConnectionError, socket.timeout):
            pass
        answer = read_all(peer)
        peer.close()
        return answer

    def post(self, path, kind, body):
        head = 'POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n' % (path, kind, len(body))
        return self.send(head.encode() + body)

    def alive(self):
        return self.process.poll() is None and self.send(b'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n', 20).startswith(b'HTTP/1.1 200')


def form(parts):
    return b''.join(b'--b\r\n' + head + b'\r\n\r\n' + body + b'\r\n' for head, body in parts) + b'--b--\r\n'


def cases(server, words=()):
    job = lambda **fields: json.dumps(dict({'verb': 'generate', 'steps': 1}, **fields)).encode()
    as_json = lambda path, body: lambda: server.post(path, 'application/json', body() if callable(body) else body)
    as_form = lambda path, body, kind='multipart/form-data; boundary=b': lambda: server.post(path, kind, body())
    disposition = lambda name: b'Content-Disposition: form-data; name="' + name + b'"'
    jobs = '/api/v1/jobs'
    out = {
        'form-parts': as_form(jobs, lambda: form([(disposition(b'p%d' % i), b'') for i in range(300_000)])),
        'form-same-parts': as_form(jobs, lambda: form([(disposition(b'request'), b'{}')] * 200_000)),
        'form-heads': as_form(jobs, lambda: form([(b'\r\n'.join(b'X-%d: v' % i for i in range(300_000)), b'x')])),
        'form-name': as_form(jobs, lambda: form([(disposition(b'n' * 10_000_000), b'x')])),
        'form-dashes': as_form(jobs, lambda: b'--b\r\n\r\n' + b'\r\n--' * 6_000_000),
        'form-almost': as_form(jobs, lambda: b'--' + b'a' * 69 + b'\r\n\r\n' + (b'\r\n--' + b'a' * 68) * 400_000, 'multipart/form-data; boundary=' + 'a' * 69),
        'form-no-boundary': as_form(jobs, lambda: b'x' * 30_000_000, 'multipart/form-data'),
        'form-boundary-long': as_form(jobs, lambda: b'x' * 1000, 'multipart/form-data; boundary=' + 'b' * 30_000),
        'urlencoded': as_form('/api/v1/encode', lambda: b'&'.join(b'a%d=b' % i for i in range(1_500_000)), 'application/x-www-form-urlencoded'),
        'json-objects': as_json(jobs, lambda: b'[' + b'{},' * 5_000_000 + b'{}]'),
        'json-deep': as_json(jobs, lambda: b'[' * 10_000_000),
        'json-deep-objects': as_json(jobs, lambda: b'{"a":' * 5_000_000),
        'json-keys': as_json(jobs, lambda: b'{' + b','.join(b'"k%d":1' % i for i in range(1_500_000)) + b'}'),
        'json-same-keys': as_json(jobs, lambda: b'{' + b'"verb":"x",' * 2_000_000 + b'"verb":"generate"}'),
        'json-number': as_json(jobs, lambda: b'{"verb":"generate","seed":' + b'9' * 20_000_000 + b'}'),
        'json-escapes': as_json(jobs, lambda: b'{"verb":"' + b'\\u001b' * 5_000_000 + b'"}'),
        'json-utf8': as_json(jobs, lambda: b'{"verb":"' + b'\xff' * 10_000_000 + b'"}'),
        'prompt': as_json(jobs, lambda: job(prompt='Ã©' * 5_000_000)),
        'tokens-grid': as_json(jobs, lambda: json.dumps({'verb': 'fill', 'tokens': [[0] * 1000] * 1000, 'steps': 1}).encode()),
        'tokens-rows': as_json(jobs, lambda: json.dumps({'verb': 'fill', 'tokens': [[0]] * 1_500_000, 'steps': 1}).encode()),
        'tokens-codes': as_json(jobs, lambda: json.dumps({'verb': 'fill', 'tokens': [[1 << 62, -5, 1e308, None]]}).encode()),
        'boxes': as_json(jobs, lambda: json.dumps({'verb': 'inpaint', 'image': base64.b64encode(pictures.good()).decode(), 'boxes': [[0, 0, 64, 64]] * 200_000, 'steps': 1}).encode()),
        'pieces': as_json(jobs, lambda: json.dumps({'verb': 'stitch', 'width': 64, 'height': 64, 'pieces': [{'image': 'piece', 'from': [0, 0, 1, 1], 'to': [0, 0]}] * 200_000}).encode()),
        'steps-count': as_json(jobs, job(steps=10**18, count=10**18)),
        'size': as_json(jobs, job(width=65535, height=65535)),
        'decode-grid': as_json('/api/v1/decode', lambda: json.dumps({'tokens': [[0] * 4000] * 400}).encode()),
        'candidates': as_json('/api/v1/candidates', lambda: json.dumps({'tokens': [[None] * 1000] * 1000, 'cell': [0, 0]}).encode()),
        'openai-n': as_json('/v1/images/generations', lambda: json.dumps({'prompt': 'x', 'n': 10**9}).encode()),
        'a1111-batch': as_json('/sdapi/v1/txt2img', lambda: json.dumps({'prompt': 'x', 'batch_size': 10**9, 'n_iter': 10**9, 'steps': 10**9}).encode()),
        'a1111-images': as_json('/sdapi/v1/img2img', lambda: json.dumps({'init_images': ['A' * 100] * 200_000}).encode()),
        'head-lines': lambda: server.send(b'GET / HTTP/1.1\r\nHost: localhost\r\n' + b'X: y\r\n' * 20_000 + b'\r\n'),
        'head-line': lambda: server.send(b'GET /' + b'a' * 60_000 + b' HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'),
        'head-query': lambda: server.send(b'GET /?' + b'a&' * 30_000 + b' HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'),
        'head-percent': lambda: server.send(b'GET /' + b'%00%2e%2e%2f' * 300 + b' HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'),
        'head-cookies': lambda: server.send(b'GET / HTTP/1.1\r\nHost: localhost\r\nCookie: ' + b'a=b;' * 15_000 + b'\r\nConnection: close\r\n\r\n'),
        'head-ranges': lambda: server.send(b'GET / HTTP/1.1\r\nHost: localhost\r\nRange: bytes=' + b'0-0,' * 10_000 + b'0-0\r\nConnection: close\r\n\r\n'),
        'head-range-regex': lambda: server.send(b'GET / HTTP/1.1\r\nHost: localhost\r\nRange: bytes=' + b'1' * 60_000 + b'\r\nConnection: close\r\n\r\n'),
        'head-accept': lambda: server.send(b'GET / HTTP/1.1\r\nHost: localhost\r\nAccept: ' + b'a/b;q=1,' * 7_000 + b'\r\nConnection: close\r\n\r\n'),
        'chunks-small': lambda: server.send(b'POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n' + b'1\r\na\r\n' * 2_000_000 + b'0\r\n\r\n'),
        'chunks-extension': lambda: server.send(b'POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1;' + b'x' * 5_000_000 + b'\r\na\r\n0\r\n\r\n'),
        'chunks-huge': lambda: server.send(b'POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nffffffffffffffff\r\n'),
        'pipeline': lambda: server.send(b'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n' * 20_000, 20),
    }
    # The pictures take long to make: only where they are asked for.
    wanted = not words or any(word in 'encode/' or word.startswith('encode/') for word in words)
    for name, make in pictures.cases().items() if wanted else ():
        data = lambda make=make: base64.b64encode(make()).decode()
        out['encode/' + name] = as_json('/api/v1/encode', lambda data=data: json.dumps({'image': data()}).encode())
    return out


def attack(program, model, folder, words=()):
    server = Server(program, model, folder)
    bad = runs = 0
    most = 0
    before, _ = server.cost()
    for name, send in cases(server, words).items():
        if words and not any(word in name for word in words):
            continue
        began = time.time()
        answer = send()
        seconds = time.time() - began
        now, mib = server.cost()
        line = answer.split(b'\r\n', 1)[0].decode('latin-1')
        body = answer.split(b'\r\n\r\n', 1)[-1]
        faults = []
        if not server.alive():
            faults.append('the server has gone or does not answer')
        if line.startswith('HTTP/1.1 5') and ' 503' not in line:
            faults.append('a fault of the server')
        if mib > MOST_MIB:
            faults.append('%.0f MiB' % mib)
        if now - before > MOST_SECONDS:
            faults.append('%.1f s of a processor' % (now - before))
        if len(body) > 200_000 and not line.startswith('HTTP/1.1 200'):
            faults.append('%d bytes of answer' % len(body))
        if name != 'pipeline' and answer.count(b'HTTP/1.1 ') > 1:
            faults.append('%d answers' % answer.count(b'HTTP/1.1 '))
        if b'\x1b' in body:
            faults.append('escapes')
        runs += 1
        bad += bool(faults)
        most = max(most, mib)
        print('%-4s http/%-40s %-28s %5.0f MiB %5.1f s CPU %5.1f s  %s%s' % ('BAD' if faults else 'ok', name, line[:28], mib, now - before, seconds, ('[' + ', '.join(faults) + '] ') if faults else '', body[:110].decode('latin-1').replace('\n', ' ')), flush=True)
        if server.process.poll() is not None:
            print('ended with', server.process.returncode)
            server = Server(program, model, folder)
        before, _ = server.cost()
    began = time.time()
    server.process.terminate()
    status = server.process.wait(60)
    print('SIGTERM: status %d after %.1f s; %d requests, %d faults; at most %.0f MiB' % (status, time.time() - began, runs, bad, most))
    return 1 if bad or status != 0 else 0
