#!/usr/bin/env python3
"""A DHT of libtorrent nodes on one address, for the interop suite.

The arguments are the address and how many nodes. Prints one JSON object a line: "node" with an address when a node
has come up, and what comes of the commands on standard input, which the last node carries out: "add ADDR:PORT" gets to
know a node, "put TEXT" stores an immutable item ("put" with its target), "get HASH" fetches one ("item"), "read KEY" fetches a
mutable one ("item"). Runs until it is killed.
"""

import json
import queue
import sys
import threading
import time

import libtorrent


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def node(address):
    session = libtorrent.session({
        "listen_interfaces": f"{address}:0",
        "enable_dht": True,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "dht_bootstrap_nodes": "",
        # All nodes share an address of this machine.
        "dht_restrict_routing_ips": False,
        "dht_restrict_search_ips": False,
        "dht_ignore_dark_internet": False,
        "dht_prefer_verified_node_ids": False,
        "dht_enforce_node_id": False,
        "dht_block_ratelimit": 1000,
        "alert_mask": libtorrent.alert.category_t.all_categories,
    })
    while True:
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            if isinstance(alert, libtorrent.listen_succeeded_alert):
                if alert.socket_type == libtorrent.socket_type_t.udp:
                    return session, alert.port


def main():
    address, count = sys.argv[1], int(sys.argv[2])
    nodes = []
    for _ in range(count):
        session, port = node(address)
        for _, other in nodes:
            session.add_dht_node((address, other))
            nodes[0][0].add_dht_node((address, port))
        nodes.append((session, port))
        say("node", address=f"{address}:{port}")
    session = nodes[-1][0]
    item = ""
    lines = queue.Queue()

    def read():
        for line in sys.stdin:
            lines.put(line.strip())

    threading.Thread(target=read, daemon=True).start()
    while True:
        while not lines.empty():
            verb, _, rest = lines.get().partition(" ")
            if verb == "add":
                host, _, port = rest.rpartition(":")
                for each, _ in nodes:
                    each.add_dht_node((host, int(port)))
            elif verb == "put":
                item = rest
                session.dht_put_immutable_item(item)
            elif verb == "get":
                session.dht_get_immutable_item(libtorrent.sha1_hash(bytes.fromhex(rest)))
            elif verb == "read":
                session.dht_get_mutable_item(bytes.fromhex(rest), b"")
        session.wait_for_alert(100)
        for each, _ in nodes[:-1]:
            each.pop_alerts()
        for alert in session.pop_alerts():
            if isinstance(alert, libtorrent.dht_put_alert):
                if alert.num_success:
                    say("put", target=str(alert.target), count=alert.num_success)
                else:
                    # It had not found anybody yet.
                    time.sleep(0.1)
                    session.dht_put_immutable_item(item)
            elif isinstance(alert, libtorrent.dht_immutable_item_alert):
                say("item", value=text(alert.item))
            elif isinstance(alert, libtorrent.dht_mutable_item_alert):
                say("item", value=text(alert.item))


def text(item):
    item = item.get("value", item) if isinstance(item, dict) else item
    return item.decode() if isinstance(item, bytes) else str(item)


main()
