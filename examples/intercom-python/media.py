"""What stands in for the hardware: a microphone and a camera that are made up or read from a file, and a loudspeaker and a
screen that say in words what they hear and see."""

import asyncio
import fractions
import math
import time

from aiortc import MediaStreamTrack
from aiortc.contrib.media import MediaPlayer, MediaRelay
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, AudioResampler, VideoFrame

RATE = 48000  # samples a second
FRAME = RATE // 50  # samples of 20 ms


class Tone(MediaStreamTrack):
    """A microphone that hears a tone."""

    kind = "audio"

    def __init__(self, hertz):
        super().__init__()
        self.hertz, self.began, self.position = hertz, None, 0

    async def recv(self):
        now = time.monotonic()
        if self.began is None:
            self.began = now
        await asyncio.sleep(max(0.0, self.began + self.position / RATE - now))
        step = 2 * math.pi * self.hertz / RATE
        data = bytearray()
        for i in range(self.position, self.position + FRAME):
            data += round(8000 * math.sin(step * i)).to_bytes(2, "little", signed=True)
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(bytes(data))
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.position, fractions.Fraction(1, RATE)
        self.position += FRAME
        return frame


class TestPicture(MediaStreamTrack):
    """A camera that sees green on the left, magenta on the right, and a white bar that moves down."""

    kind = "video"
    WIDTH, HEIGHT, PER_SECOND = 320, 240, 10

    def __init__(self):
        super().__init__()
        self.began, self.number = None, 0

    async def recv(self):
        now = time.monotonic()
        if self.began is None:
            self.began = now
        await asyncio.sleep(max(0.0, self.began + self.number / self.PER_SECOND - now))
        frame = VideoFrame(self.WIDTH, self.HEIGHT, "yuv420p")
        left, right = (145, 54, 34), (107, 202, 222)  # Y, U, V
        bar = self.number * 4 % self.HEIGHT
        for plane, scale, part in zip(frame.planes, (1, 2, 2), range(3)):
            half = self.WIDTH // scale // 2
            row = bytes([left[part]]) * half + bytes([right[part]]) * half
            rows = [row.ljust(plane.line_size, b"\0")] * plane.height
            white = bytes([(235, 128, 128)[part]]) * plane.line_size
            for y in range(bar // scale, min((bar + 16) // scale, plane.height)):
                rows[y] = white
            plane.update(b"".join(rows))
        frame.pts, frame.time_base = self.number * 90000 // self.PER_SECOND, fractions.Fraction(1, 90000)
        self.number += 1
        return frame


class Sources:
    """The microphone and the camera of the device, shared by its calls."""

    def __init__(self, hertz, file):
        self.hertz, self.file = hertz, file
        self.relay, self.player = MediaRelay(), None

    def tracks(self):
        """New tracks for one call; the caller stops them."""
        if self.file is None:
            return [Tone(self.hertz), TestPicture()]
        if self.player is None:
            self.player = MediaPlayer(self.file, loop=True)
        return [self.relay.subscribe(t) for t in (self.player.audio, self.player.video) if t is not None]


async def listen(track, say):
    """The loudspeaker: once a second it says the pitch and the loudness (0 to 1) of what it hears."""
    resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
    crossings = samples = total = 0
    previous = 0
    try:
        while True:
            for frame in resampler.resample(await track.recv()):
                heard = memoryview(bytes(frame.planes[0])[: frame.samples * 2]).cast("h")
                for value in heard:
                    crossings += previous < 0 <= value
                    total += abs(value)
                    previous = value
                samples += len(heard)
            if samples >= RATE:
                say(heard={"hertz": round(crossings * RATE / samples), "loudness": round(total / samples / 32768, 4)})
                crossings = samples = total = 0
    except MediaStreamError:
        pass  # the call ended


async def watch(track, say):
    """The screen: once a second it says the size and the mean colour (red, green, blue) of what it sees."""
    last = time.monotonic()
    try:
        while True:
            frame = await track.recv()
            if time.monotonic() - last >= 1:
                last = time.monotonic()
                small = frame.reformat(width=16, height=16, format="rgb24")
                plane = small.planes[0]
                data = bytes(plane)
                pixels = [data[y * plane.line_size + x * 3 :][:3] for y in range(16) for x in range(16)]
                colour = [sum(p[c] for p in pixels) // len(pixels) for c in range(3)]
                say(seen={"width": frame.width, "height": frame.height, "colour": colour})
    except MediaStreamError:
        pass
