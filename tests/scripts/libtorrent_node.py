#!/usr/bin/env python3
"""One libtorrent DHT node that limits nothing, for the benchmark.

The argument is the address. Prints one JSON object a line: "node" with its address and port, and, for each line "stats" on
standard input, "stats" with the nodes and replacements in its table. A line "add ADDR:PORT" makes it get to know a node.
Runs until it is killed.
"""

import json
import sys
import threading

import libtorrent


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def read(session):
    for line in sys.stdin:
        verb, _, rest = line.strip().partition(" ")
        if verb == "add":
            host, _, port = rest.rpartition(":")
            session.add_dht_node((host, int(port)))
        elif verb == "stats":
            session.post_dht_stats()


def main():
    address = sys.argv[1]
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
        # What it can do is measured, not what it is allowed to.
        "dht_upload_rate_limit": 1 << 30,
        "dht_block_ratelimit": 1 << 20,
        "alert_mask": libtorrent.alert.category_t.status_notification,
    })
    threading.Thread(target=read, args=(session,), daemon=True).start()
    told = False
    while True:
        session.wait_for_alert(1 << 20)
        for alert in session.pop_alerts():
            if isinstance(alert, libtorrent.listen_succeeded_alert) and not told:
                if alert.socket_type == libtorrent.socket_type_t.udp:
                    say("node", address=f"{address}:{alert.port}")
                    told = True
            elif isinstance(alert, libtorrent.dht_stats_alert):
                buckets = alert.routing_table
                say("stats", nodes=sum(each["num_nodes"] for each in buckets),
                    replacements=sum(each["num_replacements"] for each in buckets))


main()
