"""A device that signals as libpeer does, on aiortc and paho-mqtt: a stand-in made from libpeer's protocol, not libpeer. It
sends a colour in H264 and a tone in PCMA, and tells what it hears."""

import asyncio
import json
import sys

import paho.mqtt.client as mqtt
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription

import peers

PREFIX, COLOUR, PITCH = "/porch", (30, 30, 200), 800


async def main():
    loop, asked = asyncio.get_running_loop(), asyncio.Queue()
    host, port = sys.argv[1].split(":")
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="porch")

    def connected(*_):
        client.subscribe(PREFIX + "/invoke")
        client.publish("porch/event", "here", qos=1)

    client.on_connect = connected
    client.on_subscribe = lambda *_: peers.say(connected=True)
    client.on_message = lambda c, u, m: loop.call_soon_threadsafe(asked.put_nowait, m.payload)
    client.connect(host, int(port))
    client.loop_start()

    def reply(word, result):
        client.publish(PREFIX + "/result", json.dumps({"jsonrpc": "2.0", "id": word["id"], "result": result}))

    pc = None
    while True:
        payload = await asked.get()
        word = json.loads(payload)
        if len(payload) > 4096 or word["jsonrpc"] != "2.0" or word["id"] <= 0:
            peers.say(trouble="a request that the library does not take")
            continue
        if word["method"] == "offer":
            pc = RTCPeerConnection()
            pc.on("track", lambda track: asyncio.ensure_future(peers.listen(track)))
            pc.addTransceiver(peers.Colour(COLOUR), direction="sendonly").setCodecPreferences(
                [c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType == "video/H264" and "42e01f" in str(c.parameters)]
            )
            pc.addTransceiver(peers.Tone(PITCH)).setCodecPreferences(
                [c for c in RTCRtpSender.getCapabilities("audio").codecs if c.mimeType == "audio/PCMA"]
            )
            await pc.setLocalDescription(await pc.createOffer())
            reply(word, pc.localDescription.sdp.replace("a=setup:actpass", "a=setup:passive"))
        elif word["method"] == "answer":
            sdp = word["params"]
            lines = sdp.split("\r\n")
            if any(len(line) > 255 or "\n" in line for line in lines) or sdp.count("a=candidate:") > 10 or "a=setup:active" not in lines:
                peers.say(trouble="an answer that the library does not take")
            await pc.setRemoteDescription(RTCSessionDescription(type="answer", sdp=sdp))
        elif word["method"] == "close":
            reply(word, "")
            await pc.close()
            peers.say(closed=True)


asyncio.run(main())
