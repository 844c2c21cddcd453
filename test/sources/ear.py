"""The loudspeaker of a camera: go2rtc writes PCMU to its standard input, and what is heard is told on a TCP connection."""

import json
import socket
import sys

import peers

host, port = sys.argv[1].split(":")
with socket.create_connection((host, int(port))) as s:
    while data := sys.stdin.buffer.read(4000):
        s.sendall(json.dumps({"heard": peers.hertz([peers.linear(b) for b in data], 8000)}).encode() + b"\n")
