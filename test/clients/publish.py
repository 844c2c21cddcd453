"""A publisher made of paho-mqtt: publish.py PORT CLIENT-ID QOS [LEVEL]

Each line of standard input, "TOPIC PAYLOAD", is one message. It connects again whenever the connection breaks, keeps its
session, and writes "acked PAYLOAD" when a message is acknowledged for good (PUBACK, PUBCOMP). It ends once standard input
has ended and everything is acknowledged.
"""

import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


def main(port, client_id, qos, level="4"):
    five = level == "5"
    options = {} if five else {"clean_session": False}
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id,
                         protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311, **options)
    client.reconnect_delay_set(min_delay=0.05, max_delay=0.2)
    changed = threading.Condition()
    waiting = {}  # message id -> payload, not acknowledged yet
    early = set()  # acknowledged before publish() returned

    def on_publish(client, userdata, mid, reason, properties):
        with changed:
            if mid in waiting:
                print("acked", waiting.pop(mid), flush=True)
            else:
                early.add(mid)
            changed.notify()

    client.on_publish = on_publish
    connect = {}
    if five:
        connect = {"clean_start": False, "properties": Properties(PacketTypes.CONNECT)}
        connect["properties"].SessionExpiryInterval = 3600
    client.connect("127.0.0.1", int(port), keepalive=30, **connect)
    client.loop_start()
    for line in sys.stdin:
        topic, payload = line.rstrip("\n").split(" ", 1)
        with changed:
            changed.wait_for(lambda: len(waiting) < 20)
        mid = client.publish(topic, payload, int(qos)).mid
        with changed:
            if mid in early:
                early.remove(mid)
                print("acked", payload, flush=True)
            else:
                waiting[mid] = payload
    with changed:
        changed.wait_for(lambda: not waiting)
    client.disconnect()
    client.loop_stop()


main(*sys.argv[1:])
