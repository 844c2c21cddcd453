// What a person does at a client. Each action takes the device and what is asked for, and gives what is answered.

import {
  Attachment, DeviceId, EncryptedAttachment, RoomId, UserId, VerificationMethod, VerificationRequestPhase, EventId,
} from "@matrix-org/matrix-sdk-crypto-wasm";
import { randomUUID } from "node:crypto";
import { Refusal } from "./homeserver.mjs";

const path = (...parts) => "/_matrix/client/v3/" + parts.map(encodeURIComponent).join("/");
const methods = () => [VerificationMethod.SasV1];

// createRoom makes a private room of the person's own.
async function createRoom(device, { invite, encrypted, rotate, direct, name }) {
  const state = [];
  if (encrypted) {
    const content = { algorithm: "m.megolm.v1.aes-sha2" };
    if (rotate) content.rotation_period_msgs = rotate;
    state.push({ type: "m.room.encryption", state_key: "", content });
  }
  const answer = await device.hs.json("POST", path("createRoom"), {
    preset: "private_chat", invite: invite ?? [], initial_state: state, is_direct: direct === true, ...(name && { name }),
  });
  return { room: answer.room_id };
}

async function send(device, { room, type, content }) {
  return { event: await device.send(room, type, content) };
}

// setState puts a state event, which is never encrypted.
async function setState(device, { room, type, key, content }) {
  await device.hs.text("PUT", path("rooms", room, "state", type, key ?? ""), content);
  return {};
}

async function invite(device, { room, user }) {
  await device.hs.text("POST", path("rooms", room, "invite"), { user_id: user });
  return {};
}

async function join(device, { room }) {
  await device.hs.text("POST", path("join", room), {});
  return {};
}

async function leave(device, { room }) {
  await device.hs.text("POST", path("rooms", room, "leave"), {});
  return {};
}

// sendFile uploads encrypted bytes (base64) and says so in the room.
async function sendFile(device, { room, name, mime, data }) {
  const clear = Buffer.from(data, "base64");
  const sealed = Attachment.encrypt(clear);
  const info = JSON.parse(sealed.mediaEncryptionInfo);
  const uploaded = JSON.parse(await device.hs.bytes("POST", "/_matrix/media/v3/upload", sealed.encryptedData));
  const content = {
    msgtype: "m.file", body: name, info: { mimetype: mime, size: clear.length }, file: { ...info, url: uploaded.content_uri },
  };
  return { event: await device.send(room, "m.room.message", content) };
}

// openFile downloads and decrypts what the file of a message's content names.
async function openFile(device, { file }) {
  const mxc = new URL(file.url);
  let sealed;
  for (const base of ["/_matrix/client/v1/media/download/", "/_matrix/media/v3/download/"]) {
    try {
      sealed = await device.hs.bytes("GET", base + mxc.host + mxc.pathname);
      break;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }
  if (!sealed) throw new Error(`${file.url} cannot be downloaded`);
  return { data: Buffer.from(Attachment.decrypt(new EncryptedAttachment(sealed, JSON.stringify(file)))).toString("base64") };
}

// rotate makes the next message start a session of its own.
async function rotate(device, { room }) {
  return { had: await device.machine.invalidateGroupSession(new RoomId(room)) };
}

// holdKeys keeps the keys of what is said next to itself, until releaseKeys gives them away. silent: from those who ask, too.
async function holdKeys(device, { room, silent }) {
  await device.machine.invalidateGroupSession(new RoomId(room));
  device.held = [];
  device.silent = silent;
  return {};
}

async function releaseKeys(device) {
  const held = device.held ?? [];
  device.held = undefined;
  device.silent = false;
  for (const request of held) await device.perform(request);
  return { requests: held.length };
}

// withhold tells every device of a user that it will not get the key of a session.
async function withhold(device, { room, session, user }) {
  const content = {
    algorithm: "m.megolm.v1.aes-sha2", room_id: room, session_id: session, code: "m.unverified",
    sender_key: device.machine.identityKeys.curve25519.toBase64(),
  };
  await device.hs.text("PUT", path("sendToDevice", "m.room_key.withheld", randomUUID()), { messages: { [user]: { "*": content } } });
  return {};
}

// askKey asks every device of a user for the key of a session, as clients do that cannot read something.
async function askKey(device, { room, session, user }) {
  const body = {
    algorithm: "m.megolm.v1.aes-sha2", room_id: room, session_id: session,
    sender_key: device.machine.identityKeys.curve25519.toBase64(),
  };
  const content = { action: "request", body, request_id: randomUUID(), requesting_device_id: device.id };
  await device.hs.text("PUT", path("sendToDevice", "m.room_key_request", randomUUID()), { messages: { [user]: { "*": content } } });
  return {};
}

// crossSign gives the person keys of their own, or, with those of another device, signs this one with them.
async function crossSign(device, { keys }) {
  if (keys) {
    await device.machine.importCrossSigningKeys(keys.master, keys.self, keys.user);
    const own = await device.machine.getDevice(new UserId(device.user), new DeviceId(device.id));
    await device.perform(await own.verify());
  } else {
    const made = await device.machine.bootstrapCrossSigning(true);
    if (made.uploadKeysRequest) await device.perform(made.uploadKeysRequest);
    const body = JSON.parse(made.uploadSigningKeysRequest.body);
    const upload = (auth) => device.hs.text("POST", path("keys", "device_signing", "upload"), { ...body, ...(auth && { auth }) });
    try {
      await upload();
    } catch (error) {
      if (error.status !== 401) throw error;
      await upload({
        type: "m.login.password", identifier: { type: "m.id.user", user: device.user }, password: device.password,
        session: error.body.session,
      });
    }
    await device.perform(made.uploadSignaturesRequest);
  }
  await refresh(device, { user: device.user });
  const held = await device.machine.exportCrossSigningKeys();
  return { keys: { master: held.masterKey, self: held.self_signing_key, user: held.userSigningKey } };
}

// refresh asks the homeserver for a user's keys.
async function refresh(device, { user }) {
  await device.machine.updateTrackedUsers([new UserId(user)]);
  await device.perform(device.machine.queryKeysForUsers([new UserId(user)]));
  return {};
}

// trust is what the device holds of a user's keys.
async function trust(device, { user }) {
  await refresh(device, { user });
  const identity = await device.machine.getIdentity(new UserId(user));
  const list = await device.machine.getUserDevices(new UserId(user));
  return {
    identity: identity !== undefined,
    verified: identity?.isVerified() ?? false,
    master: identity?.masterKey ?? "",
    devices: list.devices().map((d) => ({
      id: d.deviceId.toString(), name: d.displayName ?? "", signed: d.isCrossSignedByOwner(), verified: d.isVerified(),
    })),
  };
}

// askVerification asks a user for emoji verification, in a room that the two share, or device to device.
async function askVerification(device, { user, room, to }) {
  await refresh(device, { user });
  if (room) {
    const identity = await device.machine.getIdentity(new UserId(user));
    if (!identity) throw new Error(`${user} has no cross-signing keys`);
    const content = JSON.parse(identity.verificationRequestContent(methods()));
    let known;
    device.asking = new Promise((done) => { known = done; });
    try {
      const event = await device.send(room, "m.room.message", content);
      const request = identity.requestVerification(new RoomId(room), new EventId(event), methods());
      device.flows.set(request.flowId, request);
      return { flow: request.flowId };
    } finally {
      known();
    }
  }
  const other = await device.machine.getDevice(new UserId(user), new DeviceId(to));
  if (!other) throw new Error(`${user} has no device ${to}`);
  const [request, outgoing] = other.requestVerification(methods());
  await device.perform(outgoing);
  device.flows.set(request.flowId, request);
  return { flow: request.flowId };
}

// verifications are the flows with a user that are under way.
async function verifications(device, { user }) {
  return { flows: device.machine.getVerificationRequests(new UserId(user)).filter((r) => !r.isDone() && !r.isCancelled()).map((r) => r.flowId) };
}

// verify takes a flow as far as it goes by itself; confirm says that the emoji agree, cancel that they do not. start: this side
// begins the comparison once both are ready, else it waits for the other to.
async function verify(device, { user, flow, confirm, cancel, start }) {
  const request = device.flows.get(flow) ?? device.machine.getVerificationRequest(new UserId(user), flow);
  if (request) device.flows.set(flow, request); // the machine forgets what is over
  else throw new Error(`no verification ${flow} with ${user}`);
  const make = async (outgoing) => { if (outgoing) await device.perform(outgoing); };
  const sas = request.getVerification();
  if (cancel) {
    await make(sas ? sas.cancelWithCode("m.mismatched_sas") : request.cancel());
  } else if (request.phase() === VerificationRequestPhase.Requested && !request.weStarted()) {
    await make(request.acceptWithMethods(methods()));
  } else if (!sas && request.isReady() && start) {
    const [, outgoing] = await request.startSas();
    await make(outgoing);
  } else if (sas && !sas.weStarted() && !sas.hasBeenAccepted()) {
    await make(sas.accept());
  } else if (sas && confirm && sas.canBePresented() && !sas.haveWeConfirmed()) {
    for (const outgoing of await sas.confirm()) await make(outgoing);
  }
  await device.flush();
  return {
    phase: VerificationRequestPhase[request.phase()],
    emoji: sas?.emoji()?.map((e) => e.symbol) ?? [],
    decimals: [...(sas?.decimals() ?? [])],
    done: request.isDone(),
    cancelled: request.isCancelled() || (sas?.isCancelled() ?? false),
    code: request.cancelInfo?.cancelCode() ?? sas?.cancelInfo()?.cancelCode() ?? "",
  };
}

// members are who is in a room, by membership.
async function members(device, { room }) {
  return { members: Object.fromEntries(device.room(room).members), encrypted: device.room(room).encryption !== undefined };
}

async function pauseSync(device) {
  await device.pauseSync();
  return {};
}

async function resumeSync(device) {
  device.resumeSync();
  return {};
}

async function logout(device) {
  await device.hs.text("POST", path("logout"), {});
  await device.stop();
  return {};
}

export const actions = {
  askKey, askVerification, createRoom, crossSign, holdKeys, invite, join, leave, logout, members, openFile, pauseSync, refresh, releaseKeys, resumeSync, rotate,
  send, sendFile, setState, trust, verifications, verify, withhold,
};
