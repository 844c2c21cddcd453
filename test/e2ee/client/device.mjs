// One log-in of a person: the state machine of matrix-sdk-crypto, the /sync loop that feeds it, and the rooms.

import {
  CollectStrategy, DecryptionSettings, DeviceId, DeviceLists, EncryptionSettings, HistoryVisibility, OlmMachine, RequestType,
  RoomId, TrustRequirement, UserId,
} from "@matrix-org/matrix-sdk-crypto-wasm";
import { randomUUID } from "node:crypto";
import { Homeserver } from "./homeserver.mjs";
import { Room } from "./room.mjs";

const path = (...parts) => "/_matrix/client/v3/" + parts.map(encodeURIComponent).join("/");

const filter = JSON.stringify({
  presence: { types: [] },
  room: { timeline: { limit: 500 }, ephemeral: { types: [] } },
});

const visibilities = {
  invited: HistoryVisibility.Invited, joined: HistoryVisibility.Joined,
  shared: HistoryVisibility.Shared, world_readable: HistoryVisibility.WorldReadable,
};

export class Device {
  // report is called with each event of a room's timeline: {room, event, ...}, and again when one can be read at last.
  // strict: keys go to, and texts are taken from, devices that their owners signed, and no others.
  static async login({ homeserver, user, password, strict }, report) {
    const device = new Device();
    device.hs = new Homeserver(homeserver);
    const answer = await device.hs.json("POST", path("login"), {
      type: "m.login.password", identifier: { type: "m.id.user", user }, password,
    });
    device.hs.token = answer.access_token;
    device.password = password;
    device.user = answer.user_id;
    device.id = answer.device_id;
    device.report = report;
    device.strict = strict === true;
    device.rooms = new Map();
    device.unread = new Map(); // event id -> {room, event} of those that no key is here for
    device.fresh = false; // keys came that may open them
    device.flows = new Map(); // verifications by id
    device.turn = Promise.resolve(); // one round of requests at a time
    device.posting = new Set(); // ids of requests for messages in rooms that are being sent
    device.stopping = new AbortController();
    device.machine = await OlmMachine.initialize(new UserId(device.user), new DeviceId(device.id));
    device.machine.registerRoomKeyUpdatedCallback(async () => { device.fresh = true; });
    await device.flush();
    device.loop = device.follow();
    return device;
  }

  // stop ends the /sync loop; nothing is logged out.
  async stop() {
    this.stopping.abort();
    await this.loop;
    this.machine.close();
  }

  // pauseSync ends the loop, resumeSync goes on where it was: a client that is away for a while.
  async pauseSync() {
    this.stopping.abort();
    await this.loop;
  }

  resumeSync() {
    this.stopping = new AbortController();
    this.loop = this.follow();
  }

  async follow() {
    const signal = this.stopping.signal;
    while (!signal.aborted) {
      try {
        const query = new URLSearchParams({ timeout: this.since ? "20000" : "0", filter });
        if (this.since) query.set("since", this.since);
        const answer = await this.hs.json("GET", `${path("sync")}?${query}`, undefined, signal);
        await this.take(answer);
        this.since = answer.next_batch;
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 401) return; // logged out
        console.error(`${this.user} ${this.id}: /sync: ${error.stack ?? error}`);
        await new Promise((done) => setTimeout(done, 200));
      }
    }
  }

  async take(answer) {
    const events = answer.to_device?.events ?? [];
    const users = (list) => (list ?? []).map((user) => new UserId(user));
    const lists = new DeviceLists(users(answer.device_lists?.changed), users(answer.device_lists?.left));
    const counts = new Map(Object.entries(answer.device_one_time_keys_count ?? {}));
    const fallback = answer.device_unused_fallback_key_types;
    await this.machine.receiveSyncChanges(JSON.stringify(events), lists, counts, fallback && new Set(fallback), this.decryption());
    await this.flush();

    for (const id of Object.keys(answer.rooms?.invite ?? {})) {
      if (this.stays !== true) await this.hs.text("POST", path("join", id), {}).catch(() => {}); // taken back meanwhile
    }
    for (const [id, data] of Object.entries(answer.rooms?.join ?? {})) {
      const gap = data.timeline?.limited && this.room(id).known.size > 0 ? await this.gap(id, data.timeline.prev_batch) : [];
      await this.enter(id, data.state?.events ?? [], gap, data.timeline?.events ?? []);
    }
    for (const [id, data] of Object.entries(answer.rooms?.leave ?? {})) {
      await this.enter(id, data.state?.events ?? [], [], data.timeline?.events ?? []);
    }
    await this.flush();
    if (this.fresh) {
      this.fresh = false;
      for (const { room, event } of [...this.unread.values()]) await this.read(room, event);
    }
  }

  // enter takes news of a room: all of its state first, since who may read is asked about the end of it. What is known is passed
  // over: Synapse says it again as state, after two joined at once, and then it is older than what followed (MSC4222).
  async enter(id, state, gap, timeline) {
    const room = this.room(id);
    for (const event of [...state, ...gap, ...timeline]) {
      if (event.state_key !== undefined && !room.known.has(event.event_id)) room.apply(event);
    }
    if (room.encryption) {
      await this.machine.updateTrackedUsers(room.audience().map((user) => new UserId(user)));
      await this.flush();
    }
    for (const event of [...gap, ...timeline]) {
      if (room.known.has(event.event_id)) continue;
      room.known.add(event.event_id);
      await this.read(room, event);
    }
  }

  // gap reads backwards what a limited timeline leaves out; oldest first.
  async gap(id, from) {
    const out = [];
    for (;;) {
      const page = await this.hs.json("GET", `${path("rooms", id, "messages")}?${new URLSearchParams({ dir: "b", limit: "500", from })}`);
      for (const event of page.chunk) {
        if (this.room(id).known.has(event.event_id)) return out.reverse();
        out.push(event);
      }
      if (!page.end || page.chunk.length === 0) return out.reverse();
      from = page.end;
    }
  }

  room(id) {
    if (!this.rooms.has(id)) this.rooms.set(id, new Room(id));
    return this.rooms.get(id);
  }

  // read reports an event, decrypted if it is encrypted and the key is here.
  async read(room, event) {
    if (event.type !== "m.room.encrypted" || event.state_key !== undefined || !event.content.ciphertext) {
      await this.verification(room, event);
      this.report({ room: room.id, event });
      return;
    }
    const wire = { session: event.content.session_id, cipher: event.content.ciphertext };
    try {
      const found = await this.machine.decryptRoomEvent(JSON.stringify({ ...event, room_id: room.id }), new RoomId(room.id), this.decryption());
      const clear = JSON.parse(found.event);
      this.unread.delete(event.event_id);
      await this.verification(room, clear);
      this.report({
        room: room.id, event: clear, encrypted: true, ...wire, sender_device: found.senderDevice?.toString() ?? "",
        warning: found.shieldState(false).message ?? "",
      });
    } catch (error) {
      this.unread.set(event.event_id, { room, event });
      this.report({ room: room.id, event, encrypted: true, ...wire, error: error.description ?? String(error) });
    }
  }

  // verification hands events of an in-room verification to the machine.
  async verification(room, event) {
    const { type, content } = event;
    if (!type.startsWith("m.key.verification.") && content?.msgtype !== "m.key.verification.request") return;
    await this.asking; // an answer may be here before the machine knows what was asked
    await this.machine.receiveVerificationEvent(JSON.stringify({ ...event, room_id: room.id }), new RoomId(room.id));
    await this.flush();
  }

  decryption() {
    return new DecryptionSettings(this.strict ? TrustRequirement.CrossSigned : TrustRequirement.Untrusted);
  }

  // flush performs the requests that the machine wants made; messages in rooms after the others, since to send one is to flush.
  async flush() {
    const messages = [];
    const round = this.turn.then(async () => {
      for (const request of await this.machine.outgoingRequests()) {
        if (this.silent && request.type === RequestType.ToDevice) continue; // answers to those who ask for keys
        if (request.type !== RequestType.RoomMessage) await this.perform(request);
        else if (!this.posting.has(request.id)) messages.push(request);
      }
      for (const request of messages) this.posting.add(request.id);
    });
    this.turn = round.catch(() => {});
    await round;
    for (const request of messages) await this.perform(request);
  }

  // perform makes one request of the machine and tells it the answer.
  async perform(request) {
    const body = JSON.parse(request.body);
    const send = {
      [RequestType.KeysUpload]: () => this.hs.text("POST", path("keys", "upload"), body),
      [RequestType.KeysQuery]: () => this.hs.text("POST", path("keys", "query"), body),
      [RequestType.KeysClaim]: () => this.hs.text("POST", path("keys", "claim"), body),
      [RequestType.SignatureUpload]: () => this.hs.text("POST", path("keys", "signatures", "upload"), body),
      [RequestType.ToDevice]: () => this.hs.text("PUT", path("sendToDevice", request.event_type, request.txn_id), body),
      [RequestType.RoomMessage]: async () => JSON.stringify({ event_id: await this.send(request.room_id, request.event_type, body, request.txn_id) }),
    }[request.type];
    const answer = await send();
    if (request.id) await this.machine.markRequestAsSent(request.id, request.type, answer);
    return answer;
  }

  // encrypt makes the content of an m.room.encrypted; everybody who may read it has the key when it returns.
  async encrypt(room, type, content) {
    const users = () => room.audience().map((user) => new UserId(user));
    await this.machine.updateTrackedUsers(users());
    await this.flush();
    const claim = await this.machine.getMissingSessions(users());
    if (claim) await this.perform(claim);
    const settings = new EncryptionSettings();
    settings.historyVisibility = visibilities[room.visibility];
    settings.sharingStrategy = this.strict ? CollectStrategy.identityBasedStrategy() : CollectStrategy.allDevices();
    if (room.encryption.rotation_period_msgs) settings.rotationPeriodMessages = BigInt(room.encryption.rotation_period_msgs);
    if (room.encryption.rotation_period_ms) settings.rotationPeriod = BigInt(room.encryption.rotation_period_ms) * 1000n;
    for (const request of await this.machine.shareRoomKey(new RoomId(room.id), users(), settings)) {
      if (this.held) this.held.push(request); // keys that come later than what they open
      else await this.perform(request);
    }
    return JSON.parse(await this.machine.encryptRoomEvent(new RoomId(room.id), type, JSON.stringify(content)));
  }

  // send puts an event into a room, encrypted if the room is (reactions are readable everywhere), and gives its id.
  async send(id, type, content, txn = randomUUID()) {
    const room = this.room(id);
    if (room.encryption && type !== "m.reaction") {
      const sealed = this.sealing ?? Promise.resolve(); // one at a time: shares and ratchet go in step
      const mine = sealed.then(() => this.encrypt(room, type, content));
      this.sealing = mine.catch(() => {});
      content = await mine;
      type = "m.room.encrypted";
    }
    return (await this.hs.json("PUT", path("rooms", id, "send", type, txn), content)).event_id;
  }
}
