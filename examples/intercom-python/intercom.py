"""An intercom that takes part in Matrix calls through gatepost: see README.md.

Standard input takes a command a line: ring, answer, reject, hangup. Standard output says what happens, a JSON object a line.
"""

import argparse
import asyncio
import json
import pathlib
import signal
import sys
import threading

import paho.mqtt.client as mqtt

from call import Call
from media import Sources

LARGEST = 128 << 10  # bytes of a message


def say(**what):
    print(json.dumps(what), flush=True)


class Intercom:
    """The device: one MQTT connection and at most one call."""

    def __init__(self, options):
        self.options = options
        self.sources = Sources(options.tone, options.play)
        self.call = None
        self.loop = asyncio.get_running_loop()
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=options.prefix.replace("/", "-"), clean_session=False
        )
        if options.user:
            password = pathlib.Path(options.password_file).read_text().strip() if options.password_file else None
            self.client.username_pw_set(options.user, password)
        if options.tls:
            self.client.tls_set()
        self.client.will_set(options.prefix + "/state", "offline", qos=1)
        self.client.on_connect = self.on_connect
        self.client.on_message = self.on_message

    # From the MQTT client's thread

    def on_connect(self, client, _userdata, _flags, reason, _properties):
        if reason.is_failure:
            say(trouble=f"the broker says: {reason}")
            return
        client.subscribe(self.options.prefix + "/call/in", qos=1)
        client.publish(self.options.prefix + "/state", "online", qos=1)
        self.loop.call_soon_threadsafe(self.connected)

    def on_message(self, _client, _userdata, message):
        if message.retain or len(message.payload) > LARGEST:
            return
        try:
            said = json.loads(message.payload)
            if said["v"] != 1 or not isinstance(said["type"], str):
                return
        except (ValueError, TypeError, KeyError):
            return
        self.loop.call_soon_threadsafe(self.take, said)

    # From the event loop

    def connected(self):
        say(connected=True)
        if self.options.ring:
            self.options.ring = False
            self.send({"v": 1, "type": "ring"})

    def send(self, message):
        self.client.publish(self.options.prefix + "/call/out", json.dumps(message), qos=1)

    def take(self, said):
        call_id, kind = said.get("call_id"), said["type"]
        if kind in ("ring", "invite"):
            if self.call is not None:
                self.send({"v": 1, "type": "reject" if kind == "invite" else "hangup", "call_id": call_id, "reason": "user_busy"})
                return
            self.call = Call(call_id, self.send, say, self.sources)
            self.call.take(said)
            if kind == "invite" and (said.get("auto") or self.options.answer == "at-once"):
                self.call.answer()
        elif self.call is None or call_id != self.call.id:
            return  # a call that is over, or that we know nothing of
        elif kind == "hangup":
            say(call=call_id, over=said.get("reason"))
            over, self.call = self.call, None
            asyncio.ensure_future(over.close())
        else:
            self.call.take(said)

    def command(self, word):
        if word == "ring":
            self.send({"v": 1, "type": "ring"})
        elif word == "answer" and self.call is not None:
            self.call.answer()
        elif word == "reject" and self.call is not None:
            self.call.send("reject")
        elif word == "hangup" and self.call is not None:
            self.call.send("hangup", reason="user_hangup")

    def read(self):
        for line in sys.stdin:
            self.loop.call_soon_threadsafe(self.command, line.strip())

    async def run(self):
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            self.loop.add_signal_handler(number, stop.set)
        host, _, port = self.options.broker.rpartition(":")
        self.client.connect_async(host, int(port))
        self.client.loop_start()
        threading.Thread(target=self.read, daemon=True).start()
        await stop.wait()
        if self.call is not None:
            self.call.send("hangup", reason="user_hangup")
            await self.call.close()
        self.client.disconnect()
        self.client.loop_stop()


def arguments():
    parser = argparse.ArgumentParser(description="An intercom that takes part in Matrix calls through gatepost.")
    parser.add_argument("--broker", default="127.0.0.1:1883", metavar="HOST:PORT")
    parser.add_argument("--prefix", default="porch", help="the prefix of `call: {mqtt: PREFIX}` (porch)")
    parser.add_argument("--user", help="the MQTT account")
    parser.add_argument("--password-file", help="its password")
    parser.add_argument("--tls", action="store_true", help="the broker speaks TLS")
    parser.add_argument("--ring", action="store_true", help="ring the people of the configuration when connected")
    parser.add_argument("--answer", choices=("at-once", "by-hand"), default="at-once", help="who calls is answered at once, or by the command")
    parser.add_argument("--tone", type=int, default=1000, metavar="HERTZ", help="what the microphone hears (1000)")
    parser.add_argument("--play", metavar="FILE", help="a sound or video file instead of tone and test picture")
    return parser.parse_args()


async def main():
    await Intercom(arguments()).run()


asyncio.run(main())
