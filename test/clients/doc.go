// Package clients asks of gatepost's embedded broker, by MQTT clients that other people wrote, what the standards promise:
// paho-mqtt (Python), MQTT.js (Node), mosquitto_pub and mosquitto_sub, in MQTT 3.1, 3.1.1 and 5, over mqtt, mqtts, ws and
// wss; and Eclipse Paho's own interoperability cases for MQTT 5. The same cases are asked of mosquitto, to see that they can
// be met.
//
// The tests have the build tag interop; `make interop` installs the clients and runs them. The programs here, subscribe.py
// and publish.py among them, are also what `make fault` uses.
package clients
