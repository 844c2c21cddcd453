// Reads lines from standard input and answers each with a line. {"encode": payload} gives the payload of Sparkplug B as
// base64, {"decode": base64} the payload as JSON (whole numbers beyond 53 bits as text).
"use strict";

const sparkplug = require("sparkplug-payload").get("spBv1.0");
const plain = (_, v) => (v !== null && typeof v === "object" && typeof v.unsigned === "boolean" && "low" in v ? Number(v.toString()) : v);

require("readline").createInterface({input: process.stdin}).on("line", (line) => {
    const q = JSON.parse(line);
    if (q.encode) console.log(Buffer.from(sparkplug.encodePayload(q.encode)).toString("base64"));
    else console.log(JSON.stringify(sparkplug.decodePayload(Buffer.from(q.decode, "base64")), plain));
});
