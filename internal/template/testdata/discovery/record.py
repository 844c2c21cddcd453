"""Writes recorded.json: what Home Assistant makes of the templates in cases.txt, by its own code.

    python3.12 -m venv venv; venv/bin/pip install --require-hashes --no-deps -r requirements.txt; venv/bin/python record.py

A case is rendered as Home Assistant's MQTT integration does: value is the payload as text, value_json the payload as JSON if it is
any, white space around the result does not count. What fails is recorded as an error. There is no house behind it: what asks for
states or for the time fails too.
"""
import json
import logging

from homeassistant.const import __version__
from homeassistant.helpers.template import TemplateEnvironment

THIS = {"entity_id": "sensor.test", "state": "12", "attributes": {"sum": 3}}


def variables(payload):
    out = {"this": THIS, "entity_id": "sensor.test", "name": "Test"}
    if payload.startswith("="):
        return out | json.loads(payload[1:])
    out["value"] = payload
    try:
        out["value_json"] = json.loads(payload)
    except ValueError:
        pass
    return out


def main():
    logging.disable()
    env = TemplateEnvironment(None, False, False, None)
    cases = []
    with open("cases.txt", encoding="utf-8") as f:
        for line in f.read().split("\n"):
            payload, tab, source = line.partition("\t")
            if not tab:
                continue
            source = source.replace("\\n", "\n")
            case = {"payload": payload, "src": source}
            try:
                case["out"] = env.from_string(source).render(variables(payload)).strip()
            except Exception as e:  # whatever Python calls it
                case["error"] = type(e).__name__
            cases.append(case)
    with open("recorded.json", "w", encoding="utf-8") as f:
        json.dump({"homeassistant": __version__, "this": THIS, "cases": cases}, f, ensure_ascii=False, indent=0)
        f.write("\n")


main()
