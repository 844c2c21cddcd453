// Prints every model that zigbee-herdsman-converters knows as a line: a device of zigbee2mqtt/bridge/devices. Addresses are
// made up; names are the addresses, as Zigbee2MQTT gives them. With a number as its argument only a sample of about so many,
// in which every form of exposes occurs, the smallest first.
"use strict";

const path = require("path");
const {prepareDefinition} = require("zigbee-herdsman-converters");

const root = path.dirname(require.resolve("zigbee-herdsman-converters/package.json"));
const definitions = require(path.join(root, "dist/devices/index.js")).default;

const devices = definitions.map((base, i) => {
    const definition = prepareDefinition(base);
    const exposes = typeof definition.exposes === "function" ? definition.exposes({isDummyDevice: true}, {}) : definition.exposes;
    const address = "0x00158d00" + (i + 1).toString(16).padStart(8, "0");
    return {
        ieee_address: address,
        friendly_name: address,
        type: "EndDevice",
        network_address: i + 1,
        supported: true,
        disabled: false,
        interview_completed: true,
        model_id: String((definition.zigbeeModel ?? [""])[0]),
        definition: {source: "native", model: definition.model, vendor: definition.vendor, description: definition.description, exposes},
    };
});

// forms lists what is in exposes: "light/composite/numeric", "enum 2" and the like.
function forms(exposes, within, out) {
    for (const e of exposes) {
        const form = within + e.type;
        out.add(form).add(form + " " + (e.access ?? ""));
        if (e.features) forms(e.features, form + "/", out);
        if (e.item_type && typeof e.item_type === "object") forms([e.item_type], form + "/", out);
    }
    return out;
}

let chosen = devices;
const size = Number(process.argv[2] ?? 0);
if (size > 0) {
    const seen = new Set();
    const vendors = new Set();
    const bySize = devices.map((d) => ({d, length: JSON.stringify(d).length, forms: forms(d.definition.exposes, "", new Set())}));
    bySize.sort((a, b) => a.length - b.length);
    chosen = [];
    const take = (x) => {
        chosen.push(x.d);
        vendors.add(x.d.definition.vendor);
        x.forms.forEach((f) => seen.add(f));
    };
    for (const x of bySize) if (chosen.length < size && [...x.forms].some((f) => !seen.has(f))) take(x);
    for (const x of bySize) if (chosen.length < size && x.length > 1500 && !vendors.has(x.d.definition.vendor)) take(x);
}
for (const d of chosen) console.log(JSON.stringify(d));
