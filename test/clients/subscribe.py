"""A subscriber made of paho-mqtt: subscribe.py PORT CLIENT-ID FILTER [QOS [LEVEL]]

It keeps its session at the broker, connects again whenever the connection breaks, and writes one line a thing:

    connected PRESENT                    0 or 1: the broker had a session
    message QOS DUP RETAIN TOPIC PAYLOAD

It ends, with a DISCONNECT, when standard input does. LEVEL is 4 (MQTT 3.1.1) or 5.
"""

import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


def main(port, client_id, topic, qos="1", level="4"):
    lock = threading.Lock()

    def say(*words):
        with lock:
            print(*words, flush=True)

    five = level == "5"
    options = {} if five else {"clean_session": False}
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id,
                         protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311, **options)
    client.reconnect_delay_set(min_delay=0.05, max_delay=0.2)

    def on_connect(client, userdata, flags, reason, properties):
        if reason.is_failure:
            return
        say("connected", int(flags.session_present))
        client.subscribe(topic, int(qos))

    def on_message(client, userdata, m):
        say("message", m.qos, int(m.dup), int(m.retain), m.topic, m.payload.decode())

    client.on_connect, client.on_message = on_connect, on_message
    connect = {}
    if five:
        connect = {"clean_start": False, "properties": Properties(PacketTypes.CONNECT)}
        connect["properties"].SessionExpiryInterval = 3600
    client.connect_async("127.0.0.1", int(port), keepalive=30, **connect)
    client.loop_start()
    sys.stdin.read()
    client.disconnect()
    client.loop_stop()


main(*sys.argv[1:])
