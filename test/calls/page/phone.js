// A person's client in a page: matrix-js-sdk with a microphone that hears 700 Hz and a camera that sees blue. The test calls the
// functions of `phone`; what they return is JSON.
import { createClient, createNewMatrixCall } from "matrix-js-sdk";

const states = [];

const phone = {
  client: null,
  call: null, // the one that goes on, else the latest
  incoming: 0,
  answers: false, // each call at once
  tones: null,
  picture: null,

  async start({ homeserver, user, password }) {
    media();
    const login = await createClient({ baseUrl: homeserver }).loginRequest({
      type: "m.login.password", identifier: { type: "m.id.user", user }, password,
    });
    this.client = createClient({ baseUrl: homeserver, userId: login.user_id, accessToken: login.access_token, deviceId: login.device_id });
    this.client.on("Call.incoming", (call) => {
      this.incoming += 1;
      this.take(call);
      if (this.answers) call.answer(true, false);
    });
    const ready = new Promise((resolve) => this.client.on("sync", (state) => { if (state === "PREPARED") resolve(); }));
    await this.client.startClient({ initialSyncLimit: 10 });
    await ready;
    return {};
  },

  // Calls from now on may use a relay, as if the homeserver had named it; with force they use nothing else.
  relay({ force, ...server }) {
    this.client.turnServers = [server];
    this.client.setForceTURN(force);
    return {};
  },

  take(call) {
    const before = this.call;
    this.call = call;
    states.length = 0;
    call.on("state", (state) => {
      states.push(state);
      // When both sides call each other one of the two calls is given up.
      if (state === "ended" && call === this.call && before && before.state !== "ended") this.call = before;
    });
    call.on("error", (error) => states.push(`error: ${error.code} ${error.message}`));
    call.on("feeds_changed", () => this.attach());
  },

  // A room of the person and the ghost, made once.
  async chat({ ghost }) {
    const { room_id: room } = await this.client.createRoom({ preset: "private_chat", invite: [ghost] });
    return { room };
  },

  // Accepts what the person is invited to.
  async accept() {
    const invited = this.client.getRooms().filter((room) => room.getMyMembership() === "invite");
    await Promise.all(invited.map((room) => this.client.joinRoom(room.roomId)));
    return { rooms: invited.length };
  },

  // How often something was said in the person's rooms.
  async said({ text }) {
    const said = (room) => room.getLiveTimeline().getEvents().filter((event) => event.getContent().body === text).length;
    return { times: this.client.getRooms().reduce((sum, room) => sum + said(room), 0) };
  },

  async joined({ room, user }) {
    const there = this.client.getRoom(room)?.getMember(user);
    return { membership: there ? there.membership : "" };
  },

  async place({ room, video }) {
    const call = createNewMatrixCall(this.client, room);
    this.take(call);
    await (video ? call.placeVideoCall() : call.placeVoiceCall());
    return { call: call.callId };
  },

  answering({ on }) { this.answers = on; return {}; },

  // Places a voice call, and tells after how many milliseconds the other side is heard: since the person pressed (placed), and
  // since the invite was given to the homeserver (invited).
  async first({ room }) {
    const call = createNewMatrixCall(this.client, room);
    this.take(call);
    const send = this.client.sendEvent;
    let invited = 0;
    this.client.sendEvent = (...args) => {
      if (args.includes("m.call.invite")) invited = performance.now();
      return send.apply(this.client, args);
    };
    try {
      const track = new Promise((resolve) => call.on("feeds_changed", () => {
        const feed = call.getRemoteFeeds()[0];
        if (feed?.stream.getAudioTracks().length) resolve(feed.stream);
      }));
      const placed = performance.now();
      await call.placeVoiceCall();
      const stream = await within(20000, track, "the other side's track");
      this.attach();
      const analyser = context.createAnalyser();
      analyser.fftSize = 256;
      context.createMediaStreamSource(stream).connect(analyser);
      const samples = new Float32Array(analyser.fftSize);
      for (const end = performance.now() + 20000; performance.now() < end;) {
        analyser.getFloatTimeDomainData(samples);
        const now = performance.now();
        if (samples.some((v) => Math.abs(v) > 0.02)) return { placed: now - placed, invited: now - invited };
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      throw new Error(`nothing was heard; ${states.join(", ")}`);
    } finally {
      this.client.sendEvent = send;
    }
  },

  async answer({ video }) { await this.call.answer(true, video); return {}; },
  async reject() { this.call.reject(); return {}; },
  async hangup() { this.call.hangup("user_hangup", false); return {}; },
  async hold({ on }) { this.call.setRemoteOnHold(on); return {}; },
  async mute({ on }) { await this.call.setMicrophoneMuted(on); return {}; },
  async blind({ on }) { await this.call.setLocalVideoMuted(on); return {}; },

  // Presses a key of the dial pad, and comes back when it was sent: another one before that would take its place.
  async press({ key }) {
    const pad = this.call.peerConn.getSenders().find((s) => s.dtmf)?.dtmf;
    if (!pad?.canInsertDTMF) return { can: false, sdp: this.call.peerConn.currentRemoteDescription.sdp };
    const sent = new Promise((resolve) => { pad.ontonechange = ({ tone }) => { if (tone === "") resolve(); }; });
    this.call.sendDtmfDigit(key);
    await within(5000, sent, `the key ${key} to be sent`);
    return { can: true };
  },

  async restart() { this.call.peerConn.restartIce(); return {}; },

  // What the person hears and sees, through the page's own elements.
  attach() {
    const feed = this.call.getRemoteFeeds()[0];
    if (!feed || feed.stream === this.attached) return;
    this.attached = feed.stream;
    const element = document.createElement("video");
    element.muted = true;
    element.srcObject = feed.stream;
    element.play();
    this.picture = element;
    this.tones = null;
  },

  async report() {
    const report = { state: this.call ? this.call.state : "", states: [...states], call: this.call ? this.call.callId : "", incoming: this.incoming,
      reason: this.call ? this.call.hangupReason || "" : "", hertz: 0, colours: [], width: 0, ice: "", local: "", remote: "", ufrag: "", codec: "", held: false };
    if (!this.call) return report;
    report.held = this.call.isRemoteOnHold();
    const peer = this.call.peerConn;
    if (peer && peer.connectionState !== "closed") {
      report.ice = peer.connectionState;
      const found = /a=ice-ufrag:(\S+)/.exec(peer.currentRemoteDescription?.sdp || "");
      report.ufrag = found ? found[1] : "";
      const stats = await peer.getStats();
      for (const s of stats.values()) {
        if (s.type === "outbound-rtp" && s.kind === "audio") report.codec = stats.get(s.codecId)?.mimeType || "";
        if (s.type !== "transport") continue;
        const pair = stats.get(s.selectedCandidatePairId);
        if (!pair) continue;
        report.local = stats.get(pair.localCandidateId)?.candidateType || "";
        report.remote = stats.get(pair.remoteCandidateId)?.candidateType || "";
      }
    }
    this.attach();
    if (this.attached) {
      report.hertz = await this.pitch(this.attached);
      report.width = this.picture.videoWidth;
      if (report.width) report.colours = colours(this.picture);
    }
    return report;
  },

  // The loudest frequency of the remote sound, 0 if it is silent.
  async pitch(stream) {
    if (!stream.getAudioTracks().length) return 0;
    let analyser = this.tones;
    if (!analyser) {
      analyser = context.createAnalyser();
      analyser.fftSize = 8192;
      analyser.smoothingTimeConstant = 0;
      context.createMediaStreamSource(stream).connect(analyser);
      this.tones = analyser;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    let loudest = 0;
    bins.forEach((v, i) => { if (v > bins[loudest]) loudest = i; });
    return bins[loudest] < -60 ? 0 : Math.round(loudest * context.sampleRate / analyser.fftSize);
  },
};

const context = new AudioContext();

// What a promise gives, if it does within some milliseconds.
function within(ms, promise, what) {
  return Promise.race([promise, new Promise((_, fail) => setTimeout(() => fail(new Error(`waited ${ms} ms for ${what}; ${states.join(", ")}`)), ms))]);
}

// What the microphone hears and the camera sees.
function media() {
  navigator.mediaDevices.getUserMedia = async ({ audio, video }) => {
    const stream = new MediaStream();
    if (audio) {
      const tone = context.createOscillator();
      tone.frequency.value = 700;
      const out = context.createMediaStreamDestination();
      tone.connect(out);
      tone.start();
      stream.addTrack(out.stream.getAudioTracks()[0]);
    }
    if (video) {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [320, 240];
      const draw = canvas.getContext("2d");
      let n = 0;
      setInterval(() => {
        draw.fillStyle = "#2020e0";
        draw.fillRect(0, 0, 320, 240);
        draw.fillStyle = "white";
        draw.fillRect(n++ % 320, 0, 8, 8);
      }, 100);
      stream.addTrack(canvas.captureStream(10).getVideoTracks()[0]);
    }
    return stream;
  };
}

// Red, green and blue in the middle of the left and of the right half.
function colours(video) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const draw = canvas.getContext("2d");
  draw.drawImage(video, 0, 0);
  return [0.25, 0.75].map((x) => [...draw.getImageData(canvas.width * x, canvas.height / 2, 1, 1).data].slice(0, 3));
}

globalThis.phone = phone;
