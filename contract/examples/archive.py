#!/usr/bin/env python3
"""Archive: every sample and event of every node, once, into SQLite.   archive.py HOST PORT DATABASE

Needs paho-mqtt 1.6 or 2 (Debian: python3-paho-mqtt). The session is persistent, so nothing is missed while this program is
away, and a message is acknowledged only when on_message has returned, that is after the commit.
"""
import json
import sqlite3
import sys

import paho.mqtt.client as mqtt

host, port, path = sys.argv[1:4]
db = sqlite3.connect(path, check_same_thread=False)
db.execute("CREATE TABLE IF NOT EXISTS record (node, ep, seq INTEGER, dev, kind, clk, time, body, PRIMARY KEY (node, ep, seq))")


def records(topic, body):
    """The records of a message, each with its identity."""
    _, _, _, node, kind, *dev = topic.split("/")
    if kind in ("tele", "hist"):
        for s in body["samples"]:
            yield node, body["ep"], s["seq"], dev[0], "sample", body["clk"], s["ts"], json.dumps(s)
    else:
        ep, seq = body["id"].split("-")
        yield node, ep, int(seq), body["source"].split("/")[3], body["type"], body["clk"], body["time"], json.dumps(body["data"])


def on_message(client, userdata, message):
    with db:  # commits, or rolls back and raises
        insert = "INSERT OR IGNORE INTO record VALUES (?,?,?,?,?,?,?,?)"
        new = [r for r in records(message.topic, json.loads(message.payload)) if db.execute(insert, r).rowcount]
    for r in new:
        print(*r[:6], flush=True)


def on_connect(client, userdata, flags, code, *rest):
    client.subscribe([("bordo/v1/+/+/" + t, 1) for t in ("tele/+", "hist/+", "event/+", "res")])


version = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []
client = mqtt.Client(*version, client_id="bordo-archive", clean_session=False)
client.on_connect, client.on_message = on_connect, on_message
client.connect(host, int(port))
client.loop_forever()
