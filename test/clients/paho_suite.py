"""Runs Eclipse Paho's interoperability cases for MQTT 5 brokers: paho_suite.py FOLDER PORT [CASE...]

FOLDER has test_mqttv5.py of paho-mqtt's sources, which wants to start a broker of its own; it gets the one at PORT of
localhost. The cases that are named are left out. One line a case: "ok NAME" or "fail NAME WHY".
"""

import contextlib
import io
import sys
import types
import unittest

folder, port, left_out = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
sys.path.insert(0, folder)
for name in ("mqtt", "mqtt.brokers"):  # what the suite's own broker would be
    sys.modules[name] = types.ModuleType(name)

import test_mqttv5 as suite  # noqa: E402


def connect_to_ours(cls, port=port):
    cls._test_broker_port = port


suite._TestBase._start_broker = classmethod(lambda cls, port: connect_to_ours(cls))
suite._TestBase.tearDownClass = classmethod(lambda cls: None)

names = [n for n in unittest.TestLoader().getTestCaseNames(suite.Test) if n not in left_out]
result = unittest.TestResult()
with contextlib.redirect_stdout(io.StringIO()):
    unittest.TestSuite(suite.Test(n) for n in names).run(result)
wrong = {}
for test, trace in result.failures + result.errors:
    name = getattr(test, "_testMethodName", str(test))
    wrong[name] = trace.strip().replace("\n", " | ")[-600:]
for name in names:
    print(f"fail {name} {wrong.pop(name)}" if name in wrong else f"ok {name}")
for name, why in wrong.items():  # not a case of its own: the preparation
    print(f"fail {name} {why}")
