"""A person's WebRTC client on aiortc that is called: answers the offer, tells what it hears, says a tone, and presses keys."""

import asyncio
import re
import sys

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

import peers


class DialPad:
    """Keys in place of sound on its way out, as phones do it (RFC 4733): aiortc has none of its own."""

    HELD, ENDS = 5, 3  # packets of 20 ms while a key is held; its end is said three times

    def __init__(self, offer):
        found = re.search(r"a=rtpmap:(\d+) telephone-event/8000", offer)
        self.payload_type = int(found[1]) if found else None
        self.key, self.sent, self.began = None, 0, b""

    def in_sdp(self, answer):
        """The answer with the keys that aiortc left out of it."""
        if self.payload_type is None:
            return answer
        lines = f"a=rtpmap:{self.payload_type} telephone-event/8000\r\na=fmtp:{self.payload_type} 0-15\r\n"
        answer = re.sub(r"(m=audio [^\r\n]*)", rf"\1 {self.payload_type}", answer, count=1)
        return answer.replace("a=rtpmap:", lines + "a=rtpmap:", 1)

    def attach(self, transport):
        send = transport._send_rtp

        async def send_or_press(data):
            is_rtcp = 192 <= data[1] <= 223
            await send(data if is_rtcp or self.key is None else self.instead(data))

        transport._send_rtp = send_or_press

    def press(self, key):
        self.key, self.sent = key, 0

    def instead(self, packet):
        header = 12 + 4 * (packet[0] & 0x0F)
        if packet[0] & 0x10:
            header += 4 + 4 * int.from_bytes(packet[header + 2 : header + 4], "big")
        if self.sent == 0:
            self.began = packet[4:8]  # all packets of a key have its beginning
        self.sent += 1
        end = 0x80 if self.sent > self.HELD else 0
        lasts = min(self.sent, self.HELD) * 160
        marker = 0x80 if self.sent == 1 else 0
        event = bytes([self.key, end | 10]) + lasts.to_bytes(2, "big")
        out = bytes([packet[0], marker | self.payload_type]) + packet[2:4] + self.began + packet[8:header] + event
        if self.sent == self.HELD + self.ENDS:
            self.key = None
        return out


async def main():
    pc = RTCPeerConnection()
    pc.addTrack(peers.Tone(int(sys.argv[1])))
    pad = None

    @pc.on("track")
    def on_track(track):
        asyncio.ensure_future(peers.listen(track) if track.kind == "audio" else peers.watch(track))

    queue = peers.words()
    while (word := await queue.get()) is not None:
        if "offer" in word:
            pad = DialPad(word["offer"])
            await pc.setRemoteDescription(RTCSessionDescription(type="offer", sdp=word["offer"]))
            await pc.setLocalDescription(await pc.createAnswer())
            pad.attach(pc.getSenders()[0].transport)
            peers.say(sdp=pad.in_sdp(pc.localDescription.sdp))
        elif "candidate" in word:
            candidate = candidate_from_sdp(word["candidate"].removeprefix("candidate:"))
            candidate.sdpMid = word["mid"]
            await pc.addIceCandidate(candidate)
        elif "press" in word:
            pad.press(word["press"])
    await pc.close()


asyncio.run(main())
