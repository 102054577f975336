"""Joins two TUN devices into one path with a delay, a rate, a bounded queue and random loss. Python standard library only.

usage: lossy-path.py DEVICE_A DEVICE_B DELAY_MS MBIT LOSS QUEUE_BYTES SEED

Each direction by itself: a packet is lost with probability LOSS; else it waits for its turn at the rate (when more than
QUEUE_BYTES wait, it is dropped as a router would), then DELAY_MS. Says "ready" when the devices are there; ends when its
input ends, and the devices are gone with it.
"""

import collections
import fcntl
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x0001 | 0x1000
PACKET_BYTES_MAX = 65536
# Packets read from one device before the other has its turn.
BURST = 64


def open_tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
    return device


class Direction:
    def __init__(self, source, target, delay_s, bytes_per_s, loss, queue_bytes, chance):
        self.source, self.target = source, target
        self.delay_s, self.bytes_per_s = delay_s, bytes_per_s
        self.loss, self.queue_bytes, self.chance = loss, queue_bytes, chance
        self.free_at = 0.0
        self.held = collections.deque()

    def take(self):
        for _ in range(BURST):
            try:
                packet = os.read(self.source, PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            now = time.monotonic()
            waiting = max(0.0, self.free_at - now) * self.bytes_per_s
            if self.chance.random() < self.loss or waiting > self.queue_bytes:
                continue
            self.free_at = max(self.free_at, now) + len(packet) / self.bytes_per_s
            self.held.append((self.free_at + self.delay_s, packet))

    def release(self):
        while self.held and self.held[0][0] <= time.monotonic():
            try:
                os.write(self.target, self.held.popleft()[1])
            except OSError:
                pass  # The device is not up (yet): the packet is lost, as on a cable that is not plugged in.

    def due_in(self):
        return max(0.0, self.held[0][0] - time.monotonic()) if self.held else None


def main():
    name_a, name_b = sys.argv[1:3]
    delay_ms, mbit, loss, queue_bytes, seed = (float(word) for word in sys.argv[3:8])
    a, b = open_tun(name_a), open_tun(name_b)
    shape = (delay_ms / 1000, mbit * 1e6 / 8, loss, queue_bytes, random.Random(int(seed)))
    directions = {a: Direction(a, b, *shape), b: Direction(b, a, *shape)}
    print("ready", flush=True)
    while True:
        due = [wait for wait in (one.due_in() for one in directions.values()) if wait is not None]
        readable, _, _ = select.select([a, b, sys.stdin.fileno()], [], [], min(due) if due else None)
        for one in readable:
            if one not in directions:
                return
            directions[one].take()
        for direction in directions.values():
            direction.release()


main()
