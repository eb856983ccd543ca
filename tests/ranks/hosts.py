"""Hosts of one machine: network namespaces, joined by a switch of this process that can delay what it passes on and cut a host off.

The kernel's own netem is not in every kernel, so the links are TUN devices whose other end is here. Needs root.
"""
import fcntl
import heapq
import os
import select
import struct
import subprocess
import threading
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 0x0001, 0x1000
NETWORK = '10.77.%d.%d'


def ip(*words):
    subprocess.run(['ip', *words], check=True, capture_output=True)


class Hosts:
    """count hosts with the addresses address(0) ... Each link has a delay (seconds, one way) and may be cut."""

    def __init__(self, count, prefix='tessera'):
        self.network = os.getpid() % 200
        self.names = ['%s-%d-%d' % (prefix, os.getpid(), i) for i in range(count)]
        self.delay = [0.0] * count
        self.cut = [False] * count
        self.rate = None  # bytes a second of each link; None: as fast as it goes
        self.free = [0.0] * count  # when the link to a host has sent what it was given
        self.bytes = 0
        self.files = []
        self.running = True
        for i, name in enumerate(self.names):
            ip('netns', 'add', name)
            file = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
            device = 'tun%d_%d' % (os.getpid() % 100000, i)
            fcntl.ioctl(file, TUNSETIFF, struct.pack('16sH22x', device.encode(), IFF_TUN | IFF_NO_PI))
            self.files.append(file)
            ip('link', 'set', device, 'netns', name)
            ip('-n', name, 'address', 'add', self.address(i) + '/24', 'dev', device)
            ip('-n', name, 'link', 'set', device, 'up', 'mtu', '16384')
            ip('-n', name, 'link', 'set', 'lo', 'up')
        self.thread = threading.Thread(target=self.switch, daemon=True)
        self.thread.start()

    def address(self, host):
        return NETWORK % (self.network, host + 1)

    def command(self, host, words):
        return ['ip', 'netns', 'exec', self.names[host], *words]

    def switch(self):
        waiting, order = [], 0  # (when, order, host, packet)
        while self.running:
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, _, host, packet = heapq.heappop(waiting)
                if not self.cut[host]:
                    try:
                        os.write(self.files[host], packet)
                    except OSError:
                        pass  # a full queue drops a packet, as a switch does
            pause = min(0.2, max(0.0, waiting[0][0] - now)) if waiting else 0.2
            for file in select.select(self.files, [], [], pause)[0]:
                sender = self.files.index(file)
                for _ in range(64):
                    try:
                        packet = os.read(file, 65536)
                    except BlockingIOError:
                        break
                    host = packet[19] - 1 if len(packet) > 19 and packet[0] >> 4 == 4 else -1
                    if not 0 <= host < len(self.files) or self.cut[sender] or self.cut[host]:
                        continue
                    self.bytes += len(packet)
                    when = time.monotonic() + self.delay[sender] + self.delay[host]
                    if self.rate:
                        self.free[host] = max(self.free[host], time.monotonic()) + len(packet) / self.rate
                        when = max(when, self.free[host])
                    order += 1
                    heapq.heappush(waiting, (when, order, host, packet))

    def close(self):
        self.running = False
        self.thread.join()
        for file in self.files:
            os.close(file)
        for name in self.names:
            subprocess.run(['ip', 'netns', 'del', name], capture_output=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
