"""Prints what devices made with other people's Homie libraries announce, one message a line as JSON.

Version 4 by homie-spec, version 5 by ebus-sdk; nothing is connected to. Each has a property of every data type.
"""

import json

from ebus_sdk.homie import Device as Device5, Node as Node5, Property as Property5, PropertyDatatype
from homie_spec import Device, Node, Property
from homie_spec.properties import Datatype


def show(topic, payload):
    print(json.dumps({"topic": topic, "payload": payload, "retain": True}, ensure_ascii=False))


FORMATS = {"integer": "0:100", "float": "-20.5:60", "enum": "low,mid,high", "color": "rgb"}

properties = {}
for t in Datatype:
    for settable in (False, True):
        name = t.payload + ("-set" if settable else "")
        properties[name] = Property(
            name.capitalize(), lambda: "", datatype=t, settable=settable, set=(lambda v: None) if settable else None, unit="°C" if t is Datatype.FLOAT else None,
            formatOf=FORMATS.get(t.payload),
        )
for m in Device("peer4", "Peer of version 4", nodes={"all": Node("All", "sampler", properties=properties)}).messages():
    show(m.topic, m.payload if isinstance(m.payload, str) else str(m.payload).lower())

device = Device5(id="peer5", name="Peer of version 5", type="sampler")
node = Node5(id="all", name="All", type="sampler")
device.add_node(node)
formats5 = dict(FORMATS, integer="0:100:5", boolean="off,on", json='{"type":"object"}')
for t in PropertyDatatype:
    for settable in (False, True):
        name = t.value + ("-set" if settable else "")
        node.add_property(Property5(
            id=name, name=name.capitalize(), datatype=t, format=formats5.get(t.value), settable=settable, set_callback=(lambda *a: None) if settable else None,
            unit="°C" if t.value == "float" else None,
        ))
node.add_property(Property5(id="press", name="Press", datatype=PropertyDatatype.ENUM, format="single,double", retained=False))
show("homie/5/peer5/$description", json.dumps(device.description(), ensure_ascii=False))
show("homie/5/peer5/$state", "ready")
