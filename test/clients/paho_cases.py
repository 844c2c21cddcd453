"""What an MQTT broker must do, asked of it with paho-mqtt: paho_cases.py URL LEVEL [CASE...]

URL is mqtt, mqtts, ws or wss, LEVEL 4 (MQTT 3.1.1) or 5. The accounts are "tester", who may do everything, and "limited",
who may publish and read limited/# only; their passwords are in PASSWORD and LIMITED_PASSWORD, the certificate to trust in
CA_FILE. One line a case: "ok NAME", or "fail NAME: WHY". Section numbers are those of the MQTT 5 standard.
"""

import itertools
import os
import queue
import sys
import time
import traceback
import urllib.parse

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

URL = urllib.parse.urlsplit(sys.argv[1])
FIVE = sys.argv[2] == "5"
PATIENCE = 10  # s for what must come
QUIET = 0.7  # s for what must not
RUN = f"{os.getpid():x}{time.time_ns() % 1000000:x}"
numbers = itertools.count()


def unique(word):
    return f"{word}-{RUN}-{next(numbers)}"


class Refused(Exception):
    def __init__(self, reason):
        super().__init__(f"refused: {reason}")
        self.reason = reason


class Client:
    """A connection. clean: no session from before; expiry: seconds that the session outlives it (0: it does not)."""

    def __init__(self, client_id=None, clean=True, expiry=0, user="tester", password=None, keepalive=60, will=None,
                 properties=(), manual=False, loop=True):
        self.messages, self.acks, self.published = queue.Queue(), queue.Queue(), queue.Queue()
        self.connected, self.ended = queue.Queue(), queue.Queue()
        self.id = unique("client") if client_id is None else client_id
        options = {} if FIVE else {"clean_session": clean and expiry == 0}
        c = self.c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, self.id, reconnect_on_failure=False, manual_ack=manual,
                                 protocol=mqtt.MQTTv5 if FIVE else mqtt.MQTTv311,
                                 transport="websockets" if URL.scheme in ("ws", "wss") else "tcp", **options)
        if URL.scheme in ("ws", "wss"):
            c.ws_set_options(path=URL.path)
        if URL.scheme in ("mqtts", "wss"):
            c.tls_set(ca_certs=os.environ["CA_FILE"])
        if user:
            c.username_pw_set(user, os.environ["PASSWORD"] if password is None else password)
        if will:
            c.will_set(**will)
        c.on_message = lambda _c, _u, m: self.messages.put(m)
        c.on_connect = lambda _c, _u, flags, reason, props: self.connected.put((flags, reason, props))
        c.on_subscribe = lambda _c, _u, _mid, codes, props: self.acks.put(codes)
        c.on_unsubscribe = lambda _c, _u, _mid, codes, props: self.acks.put(codes)
        c.on_publish = lambda _c, _u, mid, reason, props: self.published.put((mid, reason))
        c.on_disconnect = lambda _c, _u, flags, reason, props: self.ended.put((flags, reason))
        connect = {}
        if FIVE:
            p = connect["properties"] = Properties(PacketTypes.CONNECT)
            if expiry:
                p.SessionExpiryInterval = expiry
            for name, value in dict(properties).items():
                setattr(p, name, value)
            connect["clean_start"] = clean
        c.connect(URL.hostname, URL.port, keepalive=keepalive, **connect)
        c.loop_start()
        self.flags, reason, self.properties = self.connected.get(timeout=PATIENCE)
        if reason.is_failure:
            c.loop_stop()
            raise Refused(reason)
        if not loop:
            c.loop_stop()

    @property
    def present(self):
        return self.flags.session_present

    def subscribe(self, topic, qos=1, **options):
        if FIVE:
            props = None
            if "identifier" in options:
                props = Properties(PacketTypes.SUBSCRIBE)
                props.SubscriptionIdentifier = options.pop("identifier")
            self.c.subscribe(topic, options=SubscribeOptions(qos=qos, **options), properties=props)
        else:
            self.c.subscribe(topic, qos)
        return self.acks.get(timeout=PATIENCE)

    def unsubscribe(self, topic):
        self.c.unsubscribe(topic)
        return self.acks.get(timeout=PATIENCE)

    def publish(self, topic, payload=b"", qos=1, retain=False, properties=()):
        """Publishes and waits for the acknowledgement, whose reason it returns."""
        props = None
        if properties:
            props = Properties(PacketTypes.PUBLISH)
            for name, value in dict(properties).items():
                setattr(props, name, value)
        mid = self.c.publish(topic, payload, qos, retain, properties=props).mid
        while True:
            got, reason = self.published.get(timeout=PATIENCE)
            if got == mid:
                return reason

    def get(self, n=1):
        return [self.messages.get(timeout=PATIENCE) for _ in range(n)]

    def payloads(self, n):
        return [m.payload for m in self.get(n)]

    def nothing(self, wait=QUIET):
        try:
            m = self.messages.get(timeout=wait)
        except queue.Empty:
            return
        raise AssertionError(f"unexpected: {m.topic} {m.payload[:50]!r}")

    def rest(self, wait=QUIET):
        out = []
        while True:
            try:
                out.append(self.messages.get(timeout=wait))
            except queue.Empty:
                return out

    def leave(self, reason=None, properties=None):
        self.c.disconnect(reason, properties) if FIVE else self.c.disconnect()
        self.ended.get(timeout=PATIENCE)
        self.c.loop_stop()

    def abort(self):
        """Breaks the connection without a word."""
        self.c.loop_stop()
        self.c.socket().close()


def same(got, want):
    assert got == want, f"{got!r}, not {want!r}"


def numbered(n, start=0):
    return [b"%d" % i for i in range(start, start + n)]


# --- every version -----------------------------------------------------------------------------------------------------

def case_qos():
    """The QoS of a delivery is the lower of the two (3.8.4)."""
    for sub, pub in itertools.product(range(3), range(3)):
        t = unique("qos")
        s, p = Client(), Client()
        codes = s.subscribe(t, sub)
        same(codes[0].value, sub)
        for payload in numbered(20):
            p.publish(t, payload, pub)
        got = s.get(20)
        same([m.payload for m in got], numbered(20))
        same({m.qos for m in got}, {min(sub, pub)})
        same({m.retain for m in got}, {False})
        s.nothing(0.1)
        s.leave()
        p.leave()


def case_order():
    t = unique("order")
    s, p = Client(), Client()
    s.subscribe(t)
    for payload in numbered(2000):
        p.c.publish(t, payload, 1)
    same(s.payloads(2000), numbered(2000))
    s.leave()
    p.leave()


def case_session_resumed():
    """Subscriptions and messages wait for a session, in order (4.1, 4.6)."""
    t = unique("session")
    s = Client(expiry=300)
    assert not s.present
    s.subscribe(t + "/1", 1)
    s.subscribe(t + "/2", 2)
    s.leave()
    p = Client()
    for qos in (1, 2):
        for payload in numbered(50):
            p.publish(f"{t}/{qos}", payload, qos)
    s = Client(s.id, clean=False, expiry=300)
    assert s.present
    got = s.get(100)
    for qos in (1, 2):
        same([m.payload for m in got if m.qos == qos], numbered(50))
    s.nothing()
    p.publish(t + "/1", b"live")
    same(s.payloads(1), [b"live"])
    s.nothing()  # paho acknowledges after it has told us: without the PUBACK it would rightly come again
    s.leave()
    s = Client(s.id, clean=False, expiry=300)
    assert s.present
    s.nothing()
    s.leave()
    s = Client(s.id)  # clean: it is forgotten
    assert not s.present
    s.leave()
    p.publish(t + "/1", b"gone")
    s = Client(s.id, clean=False, expiry=300)
    assert not s.present
    s.nothing()
    s.leave()
    p.leave()


def case_redelivery():
    """What was not acknowledged comes again with DUP, what was does not (4.4)."""
    for qos in (1, 2):
        t = unique("again")
        s = Client(expiry=300, manual=True)
        s.subscribe(t, qos)
        p = Client()
        for payload in numbered(4):
            p.publish(t, payload, qos)
        got = s.get(4)
        for m in got[:2]:
            s.c.ack(m.mid, m.qos)
        time.sleep(QUIET)
        s.abort()
        s = Client(s.id, clean=False, expiry=300)
        assert s.present
        if qos == 1:
            again = s.get(2)
            same([m.payload for m in again], numbered(2, 2))
            same([m.dup for m in again], [True, True])
        s.nothing()
        s.leave()
        p.leave()


def case_retained():
    t = unique("retained")
    p, live = Client(), Client()
    live.subscribe(t + "/#", 2)
    for qos in range(3):
        p.publish(f"{t}/{qos}", b"old", qos, retain=True)
        p.publish(f"{t}/{qos}", b"new %d" % qos, qos, retain=True)
    got = live.get(6)
    same({m.retain for m in got}, {False})
    for topic in (t + "/+", t + "/#"):
        late = Client()
        late.subscribe(topic, 2)
        got = {m.topic[-1]: m for m in late.get(3)}
        same({k: m.payload for k, m in got.items()}, {"0": b"new 0", "1": b"new 1", "2": b"new 2"})
        same({m.retain for m in got.values()}, {True})
        same([got[k].qos for k in "012"], [0, 1, 2])
        late.nothing(0.2)
        late.leave()
    for qos in range(3):
        p.publish(f"{t}/{qos}", b"", qos, retain=True)
    same([m.payload for m in live.get(3)], [b""] * 3)
    late = Client()
    late.subscribe(t + "/#")
    late.nothing()
    for c in (late, live, p):
        c.leave()


def case_retained_parent():
    """"#" matches the parent level as well (4.7.1.2), retained and live."""
    t = unique("parent")
    p = Client()
    p.publish(t, b"r", retain=True)
    s = Client()
    s.subscribe(t + "/#")
    same(s.payloads(1), [b"r"])
    p.publish(t, b"l")
    same(s.payloads(1), [b"l"])
    p.publish(t, b"", retain=True)
    s.leave()
    p.leave()


def case_will():
    t = unique("will")
    w = Client()
    w.subscribe(t, 2)
    for qos in range(3):
        Client(will={"topic": t, "payload": b"gone", "qos": qos}).abort()
        m = w.get()[0]
        same((m.payload, m.qos, m.retain), (b"gone", qos, False))
    Client(will={"topic": t, "payload": b"gone", "qos": 1}).leave()
    w.nothing()
    Client(will={"topic": t, "payload": b"kept", "qos": 1, "retain": True}).abort()
    same(w.payloads(1), [b"kept"])
    late = Client()
    late.subscribe(t)
    m = late.get()[0]
    same((m.payload, m.retain), (b"kept", True))
    late.publish(t, b"", retain=True)
    late.leave()
    w.leave()


def case_keepalive():
    """A client that is silent for one and a half times its keep alive is cut off, and its will is sent (3.1.2.10)."""
    t = unique("silent")
    w = Client()
    w.subscribe(t)
    began = time.time()
    silent = Client(keepalive=2, will={"topic": t, "payload": b"gone", "qos": 1}, loop=False)
    same(w.payloads(1), [b"gone"])
    took = time.time() - began
    assert 2 <= took < 6, f"after {took:.1f} s"
    w.leave()
    silent.c.socket().close()


def case_unsubscribe():
    t = unique("unsub")
    s, p = Client(), Client()
    s.subscribe(t + "/a")
    s.subscribe(t + "/+")
    s.subscribe(t + "/c")
    s.unsubscribe(t + "/+")
    for topic in "abc":
        p.publish(f"{t}/{topic}", topic.encode())
    same(s.payloads(2), [b"a", b"c"])
    s.nothing()
    if FIVE:
        same([c.value for c in s.unsubscribe(t + "/nothing")], [0x11])
    s.leave()
    p.leave()


def case_overlapping():
    """One message each, or one in all; the highest QoS counts then (3.3.4)."""
    t = unique("overlap")
    s, p = Client(), Client()
    s.subscribe(t + "/#", 2)
    s.subscribe(t + "/+", 1)
    p.publish(t + "/x", b"x", 2)
    got = [s.get()[0]] + s.rest()
    assert [m.qos for m in got] in ([2], [2, 1], [1, 2]), [m.qos for m in got]
    s.leave()
    p.leave()


def case_resubscribe():
    """The same filter again replaces the subscription and brings retained messages again (3.8.4)."""
    t = unique("resub")
    s, p = Client(), Client()
    p.publish(t, b"r", 1, retain=True)
    s.subscribe(t, 1)
    same(s.payloads(1), [b"r"])
    s.subscribe(t, 0)
    same(s.payloads(1), [b"r"])
    p.publish(t, b"l", 1)
    m = s.get()[0]
    same((m.payload, m.qos), (b"l", 0))
    s.nothing()
    p.publish(t, b"", retain=True)
    s.leave()
    p.leave()


def case_client_id():
    c = Client("")
    if FIVE:
        assert c.properties.AssignedClientIdentifier
    c.leave()
    if FIVE:
        c = Client("", expiry=300)
        assigned = c.properties.AssignedClientIdentifier
        c.leave()
        c = Client(assigned, clean=False, expiry=300)
        assert c.present
        c.leave()


def case_payloads():
    t = unique("large")
    s, p = Client(), Client()
    s.subscribe(t, 1)
    sizes = [0, 1, 127, 128, 16383, 16384, 65535, 65536]
    if URL.scheme in ("mqtt", "mqtts"):  # paho-mqtt hangs with larger WebSocket frames, at every broker; MQTT.js sends them
        sizes += [1 << 20, 4 << 20]
    for size in sizes:
        payload = os.urandom(size)
        p.publish(t, payload, 1)
        assert s.get()[0].payload == payload, f"{size} bytes"
    s.leave()
    p.leave()


def case_takeover():
    c = Client(expiry=300)
    t = unique("takeover")
    c.subscribe(t)
    second = Client(c.id, clean=False, expiry=300)
    assert second.present
    reason = c.ended.get(timeout=PATIENCE)[1]
    if FIVE:
        same(reason.value, 0x8E)
    p = Client()
    p.publish(t, b"x")
    same(second.payloads(1), [b"x"])
    c.nothing(0.1)
    p.leave()
    second.leave()


def case_login():
    for user, password in (("tester", "wrong"), ("nobody", "x"), ("tester", ""), (None, "")):
        try:
            Client(user=user, password=password).leave()
        except Refused as e:
            assert e.reason.value in (0x86, 0x87) or not password, e.reason  # an empty one may be an error of its own
        else:
            raise AssertionError(f"{user} gets in with {password!r}")
    Client().leave()


def case_permissions():
    w = Client()
    t = unique("limited")
    w.subscribe(f"limited/{t}")
    w.subscribe(t)
    c = Client(user="limited", password=os.environ["LIMITED_PASSWORD"])
    c.publish(f"limited/{t}", b"yes")
    same(w.payloads(1), [b"yes"])
    assert c.subscribe(f"limited/{t}/x")[0].value == 1
    for topic in (t, "#", "+/x", "$SYS/#"):
        code = c.subscribe(topic)[0].value
        assert code in ((0x87,) if FIVE else (0x80,)), f"{topic}: {code:#x}"
    c.publish(t, b"no", 0)
    if FIVE:
        same(c.publish(t, b"no", 1).value, 0x87)
        c.leave()
    w.nothing()
    if not FIVE:
        try:
            Client(user="limited", password=os.environ["LIMITED_PASSWORD"], will={"topic": t, "payload": b"no"}).abort()
        except Refused:
            pass
        w.nothing()
    w.leave()


def case_topics():
    prefix = unique("topics")
    for topic, pattern in (("zigbee2mqtt/Living room lamp", "zigbee2mqtt/+"), ("ü/日本/😀", "ü/#"), ("a//b", "a/+/b"),
                           ("/a/", "/+/"), ("a.b-c_d", "+"), ("x/" * 20 + "y", "#"), ("l" * 1000, "+")):
        s, p = Client(), Client()
        s.subscribe(f"{prefix}/{pattern}")
        p.publish(f"{prefix}/{topic}", b"x")
        same(s.get()[0].topic, f"{prefix}/{topic}")
        s.leave()
        p.leave()


def case_dollar():
    """Topics that begin with $ are not for wildcards at the beginning (4.7.2)."""
    t = "$own/" + unique("own")
    s, p = Client(), Client()
    s.subscribe("#", 0)
    s.subscribe("+/+/x", 0)
    p.publish(t + "/x", b"x", 1)
    for m in s.rest():
        assert m.topic[0] != "$", m.topic
    s.leave()
    p.leave()


def case_bad_filters():
    s = Client()
    for topic in ("a+/b", "a/b#", "a/#/b", "#/a", "+a"):
        c = Client()
        c.c._send_subscribe(False, [(topic.encode(), SubscribeOptions(1) if FIVE else 1)], None)  # subscribe() refuses it
        try:
            codes = c.acks.get(timeout=2)
            assert codes[0].is_failure, f"{topic}: {codes[0]}"
            c.leave()
        except queue.Empty:
            c.ended.get(timeout=PATIENCE)  # cut off: fine as well
    s.leave()


# --- MQTT 5 --------------------------------------------------------------------------------------------------------------

def case5_session_expiry():
    c = Client(expiry=1)
    c.subscribe(unique("expiry"))
    c.leave()
    time.sleep(3)
    c = Client(c.id, clean=False, expiry=300)
    assert not c.present
    c.leave()
    c = Client(c.id, clean=False)  # no expiry: it ends with the connection
    assert c.present
    c.leave()
    c = Client(c.id, clean=False)
    assert not c.present
    c.leave()
    c = Client(c.id, expiry=300)  # shortened on leaving
    end = Properties(PacketTypes.DISCONNECT)
    end.SessionExpiryInterval = 0
    c.leave(properties=end)
    c = Client(c.id, clean=False)
    assert not c.present
    c.leave()


def case5_will_delay():
    t = unique("late")
    w = Client()
    w.subscribe(t)
    delay = Properties(PacketTypes.WILLMESSAGE)
    delay.WillDelayInterval = 2
    will = {"topic": t, "payload": b"gone", "qos": 1, "properties": delay}
    c = Client(expiry=60, will=will)
    began = time.time()
    c.abort()
    same(w.payloads(1), [b"gone"])
    took = time.time() - began
    assert 1.5 < took < 4.5, f"after {took:.1f} s"
    c = Client(expiry=60, will=will)
    c.abort()
    c = Client(c.id, clean=False, expiry=60, will=will)  # back in time
    w.nothing(3.5)
    c.leave()
    w.nothing()
    w.leave()


def case5_will_at_session_end():
    """The end of the session ends the delay of its will (3.1.2.5), by itself or by a clean start."""
    t = unique("end")
    w = Client()
    w.subscribe(t)
    delay = Properties(PacketTypes.WILLMESSAGE)
    delay.WillDelayInterval = 60
    will = {"topic": t, "payload": b"gone", "qos": 1, "properties": delay}
    Client(expiry=1, will=will).abort()
    same(w.payloads(1), [b"gone"])
    c = Client(expiry=60, will=will)
    c.abort()
    Client(c.id).leave()
    same(w.payloads(1), [b"gone"])
    w.leave()


def case5_disconnect_with_will():
    t = unique("wanted")
    w = Client()
    w.subscribe(t)
    Client(will={"topic": t, "payload": b"gone", "qos": 1}).leave(ReasonCode(PacketTypes.DISCONNECT, identifier=4))
    same(w.payloads(1), [b"gone"])
    w.leave()


def case5_message_expiry():
    t = unique("expires")
    s = Client(expiry=300)
    s.subscribe(t, 1)
    s.leave()
    p = Client()
    p.publish(t, b"brief", properties={"MessageExpiryInterval": 1})
    p.publish(t, b"long", properties={"MessageExpiryInterval": 100})
    p.publish(t, b"ever")
    p.publish(t + "/r", b"brief", retain=True, properties={"MessageExpiryInterval": 1})
    p.publish(t + "/r2", b"long", retain=True, properties={"MessageExpiryInterval": 100})
    time.sleep(3)
    s = Client(s.id, clean=False, expiry=300)
    got = s.get(2)
    same([m.payload for m in got], [b"long", b"ever"])
    assert 90 <= got[0].properties.MessageExpiryInterval <= 98, got[0].properties
    s.subscribe(t + "/+", 1)
    got = s.get()
    same([m.payload for m in got], [b"long"])
    assert 90 <= got[0].properties.MessageExpiryInterval <= 98, got[0].properties
    s.nothing()
    p.publish(t + "/r2", b"", retain=True)
    s.leave()
    p.leave()


def case5_receive_maximum():
    """No more than that many messages of QoS 1 and 2 are unacknowledged (3.3.4), live and after coming back."""
    for qos in (1, 2):
        t = unique("window")
        s = Client(expiry=300, properties={"ReceiveMaximum": 5}, manual=True)
        s.subscribe(t, qos)
        p = Client()
        for payload in numbered(30):
            p.publish(t, payload, qos)
        held = s.get(5) if qos == 1 else []
        if qos == 1:
            s.nothing()
            for m in held:
                s.c.ack(m.mid, m.qos)
            got = held[:]
            while len(got) < 30:
                m = s.get()[0]
                got.append(m)
                s.c.ack(m.mid, m.qos)
            same([m.payload for m in got], numbered(30))
        s.leave()
        if qos == 1:
            for payload in numbered(30):
                p.publish(t, payload, qos)
            s = Client(s.id, clean=False, expiry=300, properties={"ReceiveMaximum": 5}, manual=True)
            held = s.get(5)
            s.nothing()
            got = held[:]
            for m in held:
                s.c.ack(m.mid, m.qos)
            while len(got) < 30:
                m = s.get()[0]
                got.append(m)
                s.c.ack(m.mid, m.qos)
            same([m.payload for m in got], numbered(30))
            s.leave()
        p.leave()


def case5_shared():
    t = unique("shared")
    members = [Client() for _ in range(3)]
    for m in members:
        same(m.subscribe(f"$share/{t}/{t}/#", 1)[0].value, 1)
    alone = Client()
    alone.subscribe(t + "/#")
    p = Client()
    for payload in numbered(90):
        p.publish(t + "/x", payload)
    same(alone.payloads(90), numbered(90))
    got = [[m.payload for m in c.rest()] for c in members]
    same(sorted(sum(got, [])), sorted(numbered(90)))
    assert all(got), [len(g) for g in got]
    members[0].unsubscribe(f"$share/{t}/{t}/#")
    members[1].leave()
    for payload in numbered(10):
        p.publish(t + "/x", payload)
    same([m.payload for m in members[2].rest()], numbered(10))
    for c in (members[0], members[2], alone, p):
        c.leave()


def case5_shared_retained():
    """No retained messages for shared subscriptions (3.8.4)."""
    t = unique("shared")
    p, s = Client(), Client()
    p.publish(t, b"r", retain=True)
    s.subscribe(f"$share/{t}/{t}")
    s.nothing()
    p.publish(t, b"", retain=True)
    p.leave()
    s.leave()


def case5_properties():
    t = unique("props")
    s, p = Client(), Client()
    s.subscribe(t, 2)
    sent = {"PayloadFormatIndicator": 1, "ContentType": "text/plain", "ResponseTopic": t + "/answer",
            "CorrelationData": b"\x00\x01", "UserProperty": [("a", "1"), ("b", "2"), ("a", "3")]}
    for qos in range(3):
        p.publish(t, b"x", qos, properties=sent)
        got = s.get()[0].properties
        for name, value in sent.items():
            same(getattr(got, name), value)
    will = Properties(PacketTypes.WILLMESSAGE)
    will.ContentType, will.UserProperty = "text/plain", ("c", "4")
    Client(will={"topic": t, "payload": b"gone", "properties": will}).abort()
    got = s.get()[0].properties
    same((got.ContentType, got.UserProperty), ("text/plain", [("c", "4")]))
    s.leave()
    p.leave()


def case5_subscription_options():
    t = unique("options")
    c, p = Client(), Client()
    c.subscribe(t + "/n", 1, noLocal=True)
    c.publish(t + "/n", b"mine")
    p.publish(t + "/n", b"other")
    same(c.payloads(1), [b"other"])
    c.nothing(0.2)
    c.subscribe(t + "/p", 1, retainAsPublished=True)
    p.publish(t + "/p", b"r", retain=True)
    p.publish(t + "/p", b"n")
    same([m.retain for m in c.get(2)], [True, False])
    c.subscribe(t + "/p", 1, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
    c.nothing(0.2)
    c.subscribe(t + "/p", 1, retainHandling=SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE)
    same(c.payloads(1), [b"r"])
    p.subscribe(t + "/p", 1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
    p.nothing(0.2)
    p.unsubscribe(t + "/p")
    p.subscribe(t + "/p", 1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
    same(p.payloads(1), [b"r"])
    p.publish(t + "/p", b"", retain=True)
    c.leave()
    p.leave()


def case5_subscription_identifiers():
    t = unique("ids")
    s, p = Client(expiry=300), Client()
    s.subscribe(t + "/a", 1, identifier=7)
    s.subscribe(t + "/+", 1, identifier=268435455)
    p.publish(t + "/b", b"b")
    same(s.get()[0].properties.SubscriptionIdentifier, [268435455])
    p.publish(t + "/a", b"a")
    got = [s.get()[0]] + s.rest(0.3)
    same(sorted(i for m in got for i in m.properties.SubscriptionIdentifier), [7, 268435455])
    s.leave()
    p.publish(t + "/b", b"later")
    s = Client(s.id, clean=False, expiry=300)
    same(s.get()[0].properties.SubscriptionIdentifier, [268435455])
    s.leave()
    p.leave()


def case5_maximum_packet_size():
    """What is too large for a client is not sent to it, and holds up nothing (3.1.2.11.4)."""
    t = unique("small")
    s, p = Client(properties={"MaximumPacketSize": 200}), Client()
    s.subscribe(t, 1)
    for payload in (b"a", b"x" * 1000, b"b"):
        p.publish(t, payload)
    same(s.payloads(2), [b"a", b"b"])
    s.nothing(0.2)
    s.leave()
    p.leave()


def case5_request_response():
    t = unique("rpc")
    server, client = Client(), Client()
    server.subscribe(t + "/ask")
    client.subscribe(t + "/answer/1")
    client.publish(t + "/ask", b"2+2", properties={"ResponseTopic": t + "/answer/1", "CorrelationData": b"77"})
    m = server.get()[0]
    server.publish(m.properties.ResponseTopic, b"4", properties={"CorrelationData": m.properties.CorrelationData})
    m = client.get()[0]
    same((m.payload, m.properties.CorrelationData), (b"4", b"77"))
    server.leave()
    client.leave()


def case5_topic_alias():
    """As many aliases as the CONNACK allows work, if any (3.3.2.3.4)."""
    t = unique("alias")
    s, p = Client(), Client()
    allowed = getattr(p.properties, "TopicAliasMaximum", 0)
    s.subscribe(t)
    if allowed:
        p.publish(t, b"1", properties={"TopicAlias": allowed})
        p.publish("", b"2", properties={"TopicAlias": allowed})
        got = s.get(2)
        same([(m.topic, m.payload) for m in got], [(t, b"1"), (t, b"2")])
        p.leave()
        p = Client()
    p.c.publish(t, b"3", 0, properties=aliased(allowed + 1))
    same(p.ended.get(timeout=PATIENCE)[1].value, 0x94)
    s.leave()


def aliased(n):
    p = Properties(PacketTypes.PUBLISH)
    p.TopicAlias = n
    return p


# -------------------------------------------------------------------------------------------------------------------------

CASES = {k.removeprefix("case_"): f for k, f in list(globals().items()) if k.startswith("case_")}
if FIVE:
    CASES |= {k.removeprefix("case5_"): f for k, f in list(globals().items()) if k.startswith("case5_")}

for name in sys.argv[3:] or CASES:
    try:
        CASES[name]()
        print("ok", name, flush=True)
    except Exception as e:
        where = [f for f in traceback.extract_tb(e.__traceback__) if f.filename == __file__]
        why = str(e) or repr(e)
        if isinstance(e, queue.Empty):
            why = f"nothing came within {PATIENCE} s"
        print(f"fail {name}: line {', '.join(str(f.lineno) for f in where[1:])}: {why}".replace("\n", " "), flush=True)
os._exit(0)  # threads of connections that are broken on purpose do not end by themselves
