#!/usr/bin/env python3
"""A DHT of libtorrent nodes, for the interop suite.

The arguments are where they listen, ADDR:PORT each, or ADDR:PORT@NAMESPACE. Prints one JSON object a line: "node" with an address when a node
has come up, and what comes of the commands on standard input. "add ADDR:PORT" makes all get to know a node; the last node
carries out the others: "put TEXT" stores an immutable item ("put" with its target), "get HASH" fetches one ("item"),
"sign SEED KEY TEXT" stores a mutable one ("put"), "read KEY" fetches it ("item"), "peers HASH" looks for peers of a
torrent ("peers" with their number, if somebody knows any). Runs until it is killed.
"""

import ctypes
import functools
import hashlib
import json
import queue
import sys
import threading
import time

import libtorrent


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


# Of sched.h.
CLONE_NEWNET = 0x40000000

# For nodes that share an address.
LENIENT = {
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_ignore_dark_internet": False,
    "dht_prefer_verified_node_ids": False,
    "dht_enforce_node_id": False,
    "dht_block_ratelimit": 1000,
}


def node(listen, settings):
    session = libtorrent.session({
        "listen_interfaces": listen,
        "enable_dht": True,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "dht_bootstrap_nodes": "",
        "alert_mask": libtorrent.alert.category_t.all_categories,
        **settings,
    })
    while True:
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            if isinstance(alert, libtorrent.listen_succeeded_alert):
                if alert.socket_type == libtorrent.socket_type_t.udp:
                    return session, alert.port


def enter(namespace):
    """The threads that this one starts from now on, and so the sessions that it makes, are there."""
    with open(f"/run/netns/{namespace}", encoding="ascii") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")


def main():
    places = [place.partition("@") for place in sys.argv[1:]]
    addresses = [listen.rpartition(":")[0] for listen, _, _ in places]
    settings = LENIENT if len(set(addresses)) < len(addresses) else {}
    nodes = []
    for (listen, _, namespace), address in zip(places, addresses):
        if namespace:
            enter(namespace)
        session, port = node(listen, settings)
        for _, other in nodes:
            session.add_dht_node(other)
            nodes[0][0].add_dht_node((address, port))
        nodes.append((session, (address, port)))
        say("node", address=f"{address}:{port}")
    session = nodes[-1][0]
    put = None
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
                put = functools.partial(session.dht_put_immutable_item, rest)
                put()
            elif verb == "sign":
                seed, public, item = rest.split(" ", 2)
                secret = expanded(bytes.fromhex(seed))
                public = bytes.fromhex(public)
                put = functools.partial(session.dht_put_mutable_item, secret, public, item, b"")
                put()
            elif verb == "get":
                session.dht_get_immutable_item(libtorrent.sha1_hash(bytes.fromhex(rest)))
            elif verb == "peers":
                session.dht_get_peers(libtorrent.sha1_hash(bytes.fromhex(rest)))
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
                    put()
            elif isinstance(alert, libtorrent.dht_get_peers_reply_alert):
                if alert.num_peers():
                    say("peers", info_hash=str(alert.info_hash), count=alert.num_peers())
            elif isinstance(alert, libtorrent.dht_immutable_item_alert):
                say("item", value=text(alert.item))
            elif isinstance(alert, libtorrent.dht_mutable_item_alert):
                say("item", value=text(alert.item))


def expanded(seed):
    """The secret key of Ed25519 as libtorrent takes it: what RFC 8032 makes of the seed."""
    key = bytearray(hashlib.sha512(seed).digest())
    key[0] &= 248
    key[31] &= 127
    key[31] |= 64
    return bytes(key)


def text(item):
    item = item.get("value", item) if isinstance(item, dict) else item
    return item.decode() if isinstance(item, bytes) else str(item)


main()
