// The device: one MQTT connection and at most one call. The page's elements show how it is.
import mqtt from "./node_modules/mqtt/dist/mqtt.esm.js";
import { Call } from "./call.js";

const largest = 128 << 10; // bytes of a message
const $ = (id) => document.getElementById(id);

let client = null;
let call = null;
let prefix = "";

const say = (message) => client.publish(prefix + "/call/out", JSON.stringify(message), { qos: 1 });

function log(text) {
  const line = document.createElement("li");
  line.textContent = `${new Date().toLocaleTimeString()}  ${text}`;
  $("log").prepend(line);
  while ($("log").children.length > 100) $("log").lastChild.remove();
}

function show(state) {
  $("state").textContent = state;
  $("ring").disabled = !client?.connected || call !== null;
  $("answer").disabled = $("reject").disabled = !call?.invite;
  $("hangup").disabled = call === null || Boolean(call.invite);
}

// What a call tells the page.
function happened(what) {
  if ("remote" in what) $("remote").srcObject = what.remote;
  if ("own" in what) $("own").srcObject = what.own;
  if (what.ringing) show(`${what.ringing} calls`);
  if (what.connection) show(what.connection);
  if ("muted" in what) log(what.muted ? "the person is muted" : "the person is not muted");
  if (what.trouble) log(what.trouble);
}

const capture = (video) => navigator.mediaDevices.getUserMedia({ audio: true, video });

function take(message) {
  const { type, call_id: id } = message;
  if (type === "ring" || type === "invite") {
    if (call) {
      say({ v: 1, type: type === "invite" ? "reject" : "hangup", call_id: id, reason: "user_busy" });
      return;
    }
    call = new Call(id, say, happened, capture);
    log(type === "ring" ? `calling ${message.person}` : `${message.person} calls`);
    show(type === "ring" ? `calling ${message.person}` : "");
    call.take(message);
    if (type === "invite" && (message.auto || $("at-once").checked)) call.answer();
  } else if (call?.id !== id) {
    return; // a call that is over, or that we know nothing of
  } else if (type === "hangup") {
    log(`over: ${message.reason ?? "user_hangup"}`);
    call.close();
    call = null;
    show("ready");
  } else {
    call.take(message);
  }
}

$("connect").onsubmit = (event) => {
  event.preventDefault();
  prefix = $("prefix").value;
  client?.end(true);
  client = mqtt.connect($("broker").value, {
    clientId: prefix.replaceAll("/", "-"), clean: false,
    username: $("user").value || undefined, password: $("password").value || undefined,
    will: { topic: prefix + "/state", payload: "offline", qos: 1 },
  });
  client.on("connect", () => {
    client.subscribe(prefix + "/call/in", { qos: 1 });
    client.publish(prefix + "/state", "online", { qos: 1 });
    log("connected to the broker");
    if (!call) show("ready");
  });
  client.on("close", () => { if (!call) show("not connected"); });
  client.on("error", (error) => log(String(error)));
  client.on("message", (_topic, payload, packet) => {
    if (packet.retain || payload.length > largest) return;
    try {
      const message = JSON.parse(new TextDecoder().decode(payload));
      if (message?.v === 1 && typeof message.type === "string") take(message);
    } catch (error) {
      log(String(error));
    }
  });
};
$("ring").onclick = () => say({ v: 1, type: "ring" });
$("answer").onclick = () => { call?.answer(); show("answering"); };
$("reject").onclick = () => call?.reject();
$("hangup").onclick = () => call?.hangup();
show("not connected");
