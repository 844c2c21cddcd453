// A WebRTC peer in a page: the same commands as the one made of aiortc, as functions of `peer`.
globalThis.peer = {
  audio: 0,
  messages: 0,

  async open({ servers, policy }) {
    this.pc = new RTCPeerConnection({ iceServers: servers, iceTransportPolicy: policy });
    const context = new AudioContext();
    const tone = context.createOscillator();
    const out = context.createMediaStreamDestination();
    tone.connect(out);
    tone.start();
    this.pc.addTrack(out.stream.getAudioTracks()[0], out.stream);
    this.pc.ondatachannel = (event) => this.talk(event.channel);
    return {};
  },

  talk(channel) {
    channel.onmessage = () => { this.messages += 1; };
    let number = 0;
    const send = () => setInterval(() => {
      if (channel.readyState === "open") channel.send(`message ${number++}`);
    }, 100);
    if (channel.readyState === "open") send(); else channel.onopen = send;
  },

  async gathered(description) {
    const complete = new Promise((resolve) => {
      const check = () => { if (this.pc.iceGatheringState === "complete") resolve(); };
      this.pc.addEventListener("icegatheringstatechange", check);
      check();
    });
    this.pc.onicecandidateerror = (e) => { this.trouble = `${e.url}: ${e.errorCode} ${e.errorText}`; };
    await this.pc.setLocalDescription(description);
    await complete;
    return { sdp: this.pc.localDescription.sdp, trouble: this.trouble || "" };
  },

  async offer() {
    this.talk(this.pc.createDataChannel("messages"));
    return this.gathered(await this.pc.createOffer());
  },

  async answer({ sdp }) {
    await this.pc.setRemoteDescription({ type: "offer", sdp });
    return this.gathered(await this.pc.createAnswer());
  },

  async accept({ sdp }) {
    await this.pc.setRemoteDescription({ type: "answer", sdp });
    return {};
  },

  async report() {
    const stats = await this.pc.getStats();
    const all = [...stats.values()];
    const transport = all.find((s) => s.type === "transport");
    const pair = transport && stats.get(transport.selectedCandidatePairId);
    const inbound = all.find((s) => s.type === "inbound-rtp" && s.kind === "audio");
    const local = pair && stats.get(pair.localCandidateId);
    const remote = pair && stats.get(pair.remoteCandidateId);
    return {
      state: this.pc.connectionState,
      local: local ? local.candidateType : "",
      remote: remote ? remote.candidateType : "",
      protocol: (local && local.relayProtocol) || "",
      audio: inbound ? inbound.packetsReceived : 0,
      messages: this.messages,
    };
  },
};
"ready";
