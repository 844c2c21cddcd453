"""One call of the device: messages of docs/signalling-over-mqtt.md on one side, aiortc on the other."""

import asyncio
import re

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from media import listen, watch


class Call:
    """A call, from `ring` or `invite` to `hangup`. What gatepost says of it is put into `take`; it is done in order."""

    def __init__(self, call_id, send, say, sources):
        self.id = call_id
        self._send, self._say, self._sources = send, say, sources
        self._inbox = asyncio.Queue(256)
        self._tasks = {asyncio.ensure_future(self._run())}
        self._servers, self._offer, self._waiting = [], None, []
        self._pc, self._ufrag, self._tracks, self._sent = None, "", [], set()
        self._invited = False  # they called us, and wait for an answer

    def take(self, message):
        try:
            self._inbox.put_nowait(message)
        except asyncio.QueueFull:
            self._fail("unknown_error")

    def send(self, kind, **fields):
        self._send({"v": 1, "type": kind, "call_id": self.id, **fields})

    async def close(self):
        for task in self._tasks:
            task.cancel()
        await self._drop()

    # What gatepost says

    async def _run(self):
        try:
            while True:
                message = await self._inbox.get()
                step = getattr(self, "_on_" + message["type"], None)
                if step is not None:
                    await step(message)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # what the other side sends can't be used: say so and give up
            self._say(trouble=repr(error))
            self._fail("user_media_failed")

    async def _on_ring(self, message):
        self._relay(message)
        self._open()
        self._send_tracks({"audio", "video"})
        await self._pc.setLocalDescription(await self._pc.createOffer())
        self._describe("invite", "offer")

    async def _on_invite(self, message):
        self._relay(message)
        self._offer, self._invited = message["offer"], True
        self._say(call=self.id, person=message.get("person"), auto=message.get("auto", False))

    async def _on_accept(self, _):  # our own word, see answer
        if not self._invited:
            return
        self._invited = False
        self._open()
        await self._respond(self._offer)
        self._describe("answer", "answer")

    async def _on_answer(self, message):
        self._ufrag = ufrag(message["answer"]["sdp"])
        await self._pc.setRemoteDescription(RTCSessionDescription(**pick(message["answer"])))
        self._say(call=self.id, answered=True)

    async def _on_candidates(self, message):
        if self._invited:  # there is nothing to give them to yet
            self._waiting.extend(message["candidates"])
            return
        await self._add(message["candidates"])

    async def _on_negotiate(self, message):
        description = message["description"]
        if description["type"] != "offer":
            return  # we never offer within a call
        if ufrag(description["sdp"]) != self._ufrag:
            # An ICE restart. aiortc can't, so a new connection, with new keys, takes the place of the old.
            self._say(call=self.id, restarted=True)
            await self._drop()
            self._open()
        await self._respond(description)
        self._hold("a=sendrecv" not in description["sdp"] and "a=recvonly" not in description["sdp"])
        self._describe("negotiate", "description")

    async def _on_sdp_stream_metadata_changed(self, message):
        streams = message.get("sdp_stream_metadata", {}).values()
        self._say(
            call=self.id,
            muted={
                "audio": any(s.get("audio_muted") for s in streams),
                "video": any(s.get("video_muted") for s in streams),
            },
        )

    # What the device does

    def answer(self):
        """Answers an invitation; nothing if there is none, or none any more."""
        self.take({"type": "accept"})

    def _relay(self, message):
        turn = message.get("turn")
        if turn:
            self._servers = [RTCIceServer(urls=turn["uris"], username=turn["username"], credential=turn["password"])]

    def _open(self):
        pc = self._pc = RTCPeerConnection(RTCConfiguration(iceServers=self._servers))
        self._tracks, self._sent = self._sources.tracks(), set()

        @pc.on("track")
        def on_track(track):
            self._spawn((listen if track.kind == "audio" else watch)(track, lambda **what: self._say(call=self.id, **what)))

        @pc.on("connectionstatechange")
        def on_state():
            if pc is self._pc:
                self._say(call=self.id, state=pc.connectionState)
                if pc.connectionState == "failed":
                    self._fail("ice_failed")

    async def _respond(self, offer):
        self._ufrag = ufrag(offer["sdp"])
        await self._pc.setRemoteDescription(RTCSessionDescription(**pick(offer)))
        await self._add(self._waiting)
        self._waiting = []
        self._send_tracks({transceiver.kind for transceiver in self._pc.getTransceivers()})
        await self._pc.setLocalDescription(await self._pc.createAnswer())

    def _send_tracks(self, kinds):
        """Sends what there is of these kinds. In an answer they are those of the offer: aiortc takes no others."""
        for track in self._tracks:
            if track.kind in kinds and track.kind not in self._sent:
                self._sent.add(track.kind)
                self._pc.addTrack(track)

    async def _add(self, candidates):
        for item in candidates:
            if not item["candidate"]:
                continue  # the end; more may come after it, when the person's network changes
            try:
                candidate = candidate_from_sdp(item["candidate"].removeprefix("candidate:"))
            except (AssertionError, ValueError):
                continue  # of a kind that aiortc does not know
            candidate.sdpMid, candidate.sdpMLineIndex = item.get("sdpMid"), item.get("sdpMLineIndex")
            await self._pc.addIceCandidate(candidate)

    def _describe(self, kind, field):
        """Sends our description. aiortc waits for all candidates and puts them into it."""
        local = self._pc.localDescription
        streams = {
            line.split()[0]: {"purpose": "m.usermedia", "audio_muted": False, "video_muted": False}
            for line in re.findall(r"^a=msid:(.+)$", local.sdp, re.M)
        }
        self._say(call=self.id, sends=kind)
        self.send(kind, **{field: {"type": local.type, "sdp": local.sdp}}, sdp_stream_metadata=streams)
        self.send("candidates", candidates=[{"candidate": ""}])

    def _hold(self, held):
        """Nothing goes to a person who does not listen."""
        tracks = {track.kind: track for track in self._tracks}
        for sender in self._pc.getSenders():
            sender.replaceTrack(None if held else tracks.get(sender.kind))
        self._say(call=self.id, held=held)

    def _fail(self, reason):
        self.send("hangup", reason=reason)

    def _spawn(self, work):
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drop(self):
        pc, self._pc = self._pc, None
        for track in self._tracks:
            track.stop()
        if pc is not None:
            await pc.close()


def pick(description):
    return {"sdp": description["sdp"], "type": description["type"]}


def ufrag(sdp):
    found = re.search(r"^a=ice-ufrag:(\S+)", sdp, re.M)
    return found.group(1) if found else ""
