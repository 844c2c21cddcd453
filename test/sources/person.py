"""A person's WebRTC client on aiortc: offers, takes the answer, tells what it hears and sees, and says a tone."""

import asyncio
import sys

from aiortc import RTCPeerConnection, RTCSessionDescription

import peers


async def main():
    pc = RTCPeerConnection()
    pc.addTrack(peers.Tone(int(sys.argv[1])))
    if "--sound-alone" not in sys.argv:
        pc.addTransceiver("video", direction="recvonly")

    @pc.on("track")
    def on_track(track):
        asyncio.ensure_future(peers.listen(track) if track.kind == "audio" else peers.watch(track))

    await pc.setLocalDescription(await pc.createOffer())
    peers.say(sdp=pc.localDescription.sdp)
    queue = peers.words()
    while (word := await queue.get()) is not None:
        await pc.setRemoteDescription(RTCSessionDescription(type="answer", sdp=word["sdp"]))
    await pc.close()


asyncio.run(main())
