// Devices of people, driven by lines of JSON: {"id", "device", "do", "with"} on standard input is answered by
// {"id", "result"} or {"id", "error"} on standard output, where each event of a room is told as {"device", "told"}. Ends when
// its input does.

import { createInterface } from "node:readline";
import { initAsync } from "@matrix-org/matrix-sdk-crypto-wasm";
import { actions } from "./actions.mjs";
import { Device } from "./device.mjs";

await initAsync();
const devices = new Map();
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

async function act({ device: name, do: verb, with: input }) {
  if (verb === "login") {
    const device = await Device.login(input, (told) => say({ device: name, told }));
    devices.set(name, device);
    return { user: device.user, device: device.id };
  }
  const device = devices.get(name);
  if (!device) throw new Error(`no device ${name}`);
  if (!Object.hasOwn(actions, verb)) throw new Error(`no action ${verb}`);
  return actions[verb](device, input ?? {});
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  act(request).then(
    (result) => say({ id: request.id, result }),
    (error) => say({ id: request.id, error: error?.description ?? error?.stack ?? String(error) }),
  );
}
process.exit(0);
