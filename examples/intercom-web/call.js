// One call of the device: messages of docs/signalling-over-mqtt.md on one side, the browser's RTCPeerConnection on the other.

const firstCandidates = 200; // ms that a description waits for candidates
const batch = 300; // ms between messages of candidates

export class Call {
  // say(message) sends to gatepost; on(what) tells the page; capture(video) gives the microphone, and the camera if the call
  // has a picture, as a MediaStream.
  constructor(id, say, on, capture) {
    Object.assign(this, { id, on, capture });
    this.send = (type, fields = {}) => say({ v: 1, type, call_id: id, ...fields });
    this.work = Promise.resolve(); // what gatepost says is done in order
    this.early = []; // candidates that came before the description they belong to
    this.late = []; // ours that wait for the next message
    this.described = false;
    this.closed = false;
  }

  take(message) {
    const step = this["on_" + message.type];
    if (!step) return;
    this.work = this.work.then(() => this.closed || step.call(this, message)).catch((error) => {
      // What the other side sends can't be used: say so and give up.
      this.on({ trouble: String(error) });
      this.send("hangup", { reason: "user_media_failed" });
    });
  }

  answer() { this.take({ type: "accept" }); }
  reject() { this.send("reject"); }
  hangup() { this.send("hangup", { reason: "user_hangup" }); }

  close() {
    this.closed = true;
    clearInterval(this.timer);
    this.peer?.close();
    this.own?.getTracks().forEach((track) => track.stop());
    this.on({ remote: null, own: null });
  }

  // What gatepost says

  async on_ring(message) {
    await this.open(message.turn, true);
    await this.peer.setLocalDescription();
    await this.describe("invite", "offer");
  }

  on_invite(message) {
    this.invite = message;
    this.on({ ringing: message.person });
  }

  async on_accept() {
    const invite = this.invite;
    if (!invite) return;
    this.invite = null;
    await this.open(invite.turn, /^m=video/m.test(invite.offer.sdp)); // an answer has what the offer has
    await this.respond(invite.offer);
    await this.describe("answer", "answer");
  }

  async on_answer(message) {
    await this.peer.setRemoteDescription(message.answer);
    await this.add(this.early.splice(0));
  }

  async on_candidates(message) {
    if (!this.peer?.remoteDescription) {
      this.early.push(...message.candidates);
      return;
    }
    await this.add(message.candidates);
  }

  // A new offer within the call: hold, an ICE restart, a camera that was switched on. We never offer ourselves.
  async on_negotiate(message) {
    if (message.description.type !== "offer") return;
    await this.respond(message.description);
    await this.describe("negotiate", "description");
  }

  on_sdp_stream_metadata_changed(message) {
    const streams = Object.values(message.sdp_stream_metadata ?? {});
    this.on({ muted: streams.some((s) => s.audio_muted) });
  }

  // How it is done

  async open(turn, video) {
    const iceServers = turn ? [{ urls: turn.uris, username: turn.username, credential: turn.password }] : [];
    const peer = (this.peer = new RTCPeerConnection({ iceServers }));
    this.own = await this.capture(video);
    this.on({ own: this.own });
    for (const track of this.own.getTracks()) peer.addTrack(track, this.own);
    peer.ontrack = ({ streams }) => this.on({ remote: streams[0] });
    peer.onicecandidate = ({ candidate }) => this.late.push(candidate ? candidate.toJSON() : { candidate: "" });
    peer.onconnectionstatechange = () => {
      this.on({ connection: peer.connectionState });
      if (peer.connectionState === "failed") this.send("hangup", { reason: "ice_failed" });
    };
    this.timer = setInterval(() => this.flush(), batch);
  }

  async respond(offer) {
    await this.peer.setRemoteDescription(offer);
    await this.add(this.early.splice(0));
    await this.peer.setLocalDescription();
  }

  // The description goes out with what ICE found at once; the rest follows in batches.
  async describe(type, field) {
    const peer = this.peer;
    this.described = false;
    await new Promise((resolve) => setTimeout(resolve, firstCandidates));
    if (this.closed) return;
    const { type: kind, sdp } = peer.localDescription;
    const streams = Object.fromEntries([...sdp.matchAll(/^a=msid:(\S+)/gm)].filter(([, id]) => id !== "-")
      .map(([, id]) => [id, { purpose: "m.usermedia", audio_muted: false, video_muted: false }]));
    this.send(type, { [field]: { type: kind, sdp }, sdp_stream_metadata: streams });
    this.described = true;
  }

  flush() {
    if (this.described && this.late.length) this.send("candidates", { candidates: this.late.splice(0, 64) });
  }

  async add(candidates) {
    for (const candidate of candidates) {
      if (!candidate.candidate) continue; // the end; more may come after it, when the person's network changes
      await this.peer.addIceCandidate(candidate).catch((error) => this.on({ trouble: String(error) })); // of a kind that browsers do not know
    }
  }
}
