"""What the peers of these tests share: a tone, a colour, and how they are recognised."""

import array
import asyncio
import fractions
import json
import math
import sys
import time

import aioice.ice
import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import VideoStreamTrack

# aioice leaves loopback out; these tests use nothing else.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"] if use_ipv4 else []


def say(**word):
    print(json.dumps(word), flush=True)


def words():
    """The lines of the standard input, as they come."""
    queue, loop = asyncio.Queue(), asyncio.get_running_loop()

    def read():
        for line in sys.stdin:
            loop.call_soon_threadsafe(queue.put_nowait, json.loads(line))
        loop.call_soon_threadsafe(queue.put_nowait, None)

    loop.run_in_executor(None, read)
    return queue


def tone(hertz, rate, start, count, channels=1):
    """Samples of 16 bits in the machine's order, as bytes."""
    out = array.array("h")
    for i in range(start, start + count):
        out.extend([int(10000 * math.sin(2 * math.pi * hertz * i / rate))] * channels)
    return out.tobytes()


def sound(data, rate, layout, at):
    channels = 2 if layout == "stereo" else 1
    frame = av.AudioFrame(format="s16", layout=layout, samples=len(data) // 2 // channels)
    frame.planes[0].update(data)
    frame.sample_rate, frame.pts, frame.time_base = rate, at, fractions.Fraction(1, rate)
    return frame


def linear(byte):
    """A sample of ITU-T G.711's mu-law."""
    code = ~byte & 0xFF
    value = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return -value if code & 0x80 else value


def hertz(samples, rate):
    """How often the samples go up through zero in a second; 0 in silence."""
    if not samples or max(samples) < 500:
        return 0
    ups = sum(1 for a, b in zip(samples, samples[1:]) if a < 0 <= b)
    return round(ups * rate / len(samples))


def picture(colour, n):
    """A picture of one colour with a bar that moves at its lower edge."""
    frame = av.VideoFrame(320, 240, "rgb24")
    at = (n * 4) % 300
    plain = bytes(colour) * 320
    barred = bytes(colour) * at + bytes([255] * 60) + bytes(colour) * (300 - at)
    pad = bytes(frame.planes[0].line_size - 960)
    frame.planes[0].update((plain + pad) * 200 + (barred + pad) * 40)
    return frame


class Tone(MediaStreamTrack):
    kind = "audio"

    def __init__(self, pitch):
        super().__init__()
        self.pitch, self.at, self.began = pitch, 0, None

    async def recv(self):
        rate, count = 48000, 960
        self.began = self.began or time.monotonic()
        await asyncio.sleep(max(0, self.began + self.at / rate - time.monotonic()))
        frame = sound(tone(self.pitch, rate, self.at, count), rate, "mono", self.at)
        self.at += count
        return frame


class Colour(VideoStreamTrack):
    def __init__(self, colour):
        super().__init__()
        self.colour, self.n = colour, 0

    async def recv(self):
        pts, base = await self.next_timestamp()
        frame = picture(self.colour, self.n)
        self.n += 1
        frame.pts, frame.time_base = pts, base
        return frame


async def listen(track):
    """Tells what is heard, twice a second."""
    heard, rate = [], 48000
    while True:
        try:
            frame = await track.recv()
        except Exception:  # the call is over
            return
        rate = frame.sample_rate
        channels = len(frame.layout.channels)
        samples = array.array("h", bytes(frame.planes[0])[: frame.samples * channels * 2])
        heard.extend(samples[::channels])
        if len(heard) >= rate // 2:
            say(heard=hertz(heard, rate))
            heard = []


async def watch(track):
    """Tells the colour that is seen, of the picture's middle."""
    while True:
        try:
            frame = await track.recv()
        except Exception:  # the call is over
            return
        plane = frame.reformat(format="rgb24").planes[0]
        middle = frame.height // 2 * plane.line_size + frame.width // 2 * 3
        say(seen=list(bytes(plane)[middle : middle + 3]))
