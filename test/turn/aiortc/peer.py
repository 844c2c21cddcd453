"""A WebRTC peer made of aiortc: it takes commands on standard input and answers on standard output, a JSON object a line.

{"do": "open", "servers": [{"urls": ..., "username": ..., "credential": ...}], "policy": "relay" or "all"}  -> {}
{"do": "offer"}                 -> {"sdp": ...}    all candidates are in it
{"do": "answer", "sdp": ...}    -> {"sdp": ...}
{"do": "accept", "sdp": ...}    -> {}
{"do": "report"}                -> {"state", "local", "remote", "audio", "messages"}

It sends a tone and, ten times a second, a message, and counts audio frames and messages that come. It ends with its input.
"""

import asyncio
import json
import sys

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError
from aiortc.rtcconfiguration import RTCIceTransportPolicy


class Peer:
    def __init__(self):
        self.pc = None
        self.audio = 0
        self.messages = 0
        self.tasks = set()

    def spawn(self, work):
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def open(self, servers, policy):
        self.pc = RTCPeerConnection(
            RTCConfiguration(
                iceServers=[RTCIceServer(**server) for server in servers],
                iceTransportPolicy=RTCIceTransportPolicy(policy),
            )
        )
        self.pc.addTrack(AudioStreamTrack())
        self.pc.on("track", lambda track: self.spawn(self.listen(track)))
        self.pc.on("datachannel", self.talk)
        return {}

    async def listen(self, track):
        try:
            while True:
                await track.recv()
                self.audio += 1
        except MediaStreamError:
            pass  # the call ended

    def talk(self, channel):
        def count(_):
            self.messages += 1

        channel.on("message", count)

        async def send():
            number = 0
            while channel.readyState != "closed":
                if channel.readyState == "open":
                    channel.send(f"message {number}")
                    number += 1
                await asyncio.sleep(0.1)

        self.spawn(send())

    async def offer(self):
        self.talk(self.pc.createDataChannel("messages"))
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return {"sdp": self.pc.localDescription.sdp}

    async def answer(self, sdp):
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        return {"sdp": self.pc.localDescription.sdp}

    async def accept(self, sdp):
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))
        return {}

    async def report(self):
        local = remote = ""
        ice = self.pc.sctp.transport.transport
        pair = ice._connection._nominated.get(1)  # aiortc has no public way to ask for it
        if pair is not None:
            local, remote = pair.local_candidate.type, pair.remote_candidate.type
        return {
            "state": self.pc.connectionState,
            "local": local,
            "remote": remote,
            "audio": self.audio,
            "messages": self.messages,
        }


async def main():
    peer = Peer()
    commands = {name: getattr(peer, name) for name in ("open", "offer", "answer", "accept", "report")}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        try:
            result = await commands[command.pop("do")](**command)
        except Exception as error:
            result = {"error": repr(error)}
        print(json.dumps(result), flush=True)
    if peer.pc is not None:
        await peer.pc.close()


asyncio.run(main())
