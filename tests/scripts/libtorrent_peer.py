#!/usr/bin/env python3
"""One libtorrent session with one torrent, for the interop suite.

Prints one JSON object a line: "listening" with the address, "metadata" when the torrent of a magnet link is there,
"piece" when the first piece is and --tell-piece was given, "completed" when every piece is there,
"error" when the session gave up. Dials each ADDR:PORT that comes on a line of standard input. Runs
until it is killed.
"""

import argparse
import json
import select
import socket
import sys
import threading

import libtorrent


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def endpoint(text):
    address, _, port = text.strip().rpartition(":")
    return address.strip("[]"), int(port)


def dial(handle):
    for line in sys.stdin:
        handle.connect_peer(endpoint(line))


def main():
    if sys.argv[1:] == ["--version"]:
        print(libtorrent.version)
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("torrent", help="a file or a magnet link")
    parser.add_argument("--dir", required=True)
    parser.add_argument("--listen", required=True, help="ADDR:PORT")
    parser.add_argument("--peer", action="append", default=[], help="ADDR:PORT")
    parser.add_argument("--trusted", action="store_true", help="seed without a check")
    parser.add_argument("--no-pex", action="store_true", help="exchange no peers")
    parser.add_argument("--limit-up", type=int, default=0, help="bytes a second")
    parser.add_argument("--lsd", action="store_true", help="discover local peers")
    parser.add_argument("--utp", action="store_true", help="uTP in place of TCP")
    parser.add_argument("--dht-node", action="append", default=[], help="ADDR:PORT; turns the DHT on")
    parser.add_argument("--shared", action="store_true", help="the nodes of the DHT share few addresses")
    parser.add_argument("--tell-piece", action="store_true", help="say when the first piece has come")
    options = parser.parse_args()

    address, _ = endpoint(options.listen)
    categories = libtorrent.alert.category_t
    session = libtorrent.session({
        "listen_interfaces": options.listen,
        # Others tell peers apart by address, so connections have to come from this one.
        "outgoing_interfaces": address,
        "allow_multiple_connections_per_ip": True,
        "enable_dht": bool(options.dht_node),
        "dht_bootstrap_nodes": "",
        "enable_lsd": options.lsd,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_incoming_utp": options.utp,
        "enable_outgoing_utp": options.utp,
        "enable_incoming_tcp": not options.utp,
        "enable_outgoing_tcp": not options.utp,
        # Plain handshakes first: otherwise the first attempt at a plain peer is lost.
        "out_enc_policy": int(libtorrent.enc_policy.pe_disabled),
        "upload_rate_limit": options.limit_up,
        # Limits hold on loopback too.
        "connection_speed": 100,
        # Default 15 s, which would be most of the time a small download takes.
        "unchoke_interval": 2,
        "alert_mask": categories.error_notification | categories.status_notification
        | categories.peer_notification | categories.tracker_notification
        | categories.storage_notification
        | (categories.piece_progress_notification if options.tell_piece else 0),
    })
    if options.shared:
        session.apply_settings({
            "dht_restrict_routing_ips": False,
            "dht_restrict_search_ips": False,
            "dht_ignore_dark_internet": False,
            "dht_prefer_verified_node_ids": False,
        })
    for node in options.dht_node:
        session.add_dht_node(endpoint(node))
    if options.torrent.startswith("magnet:"):
        parameters = libtorrent.parse_magnet_uri(options.torrent)
    else:
        parameters = libtorrent.add_torrent_params()
        parameters.ti = libtorrent.torrent_info(options.torrent)
    parameters.save_path = options.dir
    parameters.flags &= ~libtorrent.torrent_flags.auto_managed
    parameters.flags &= ~libtorrent.torrent_flags.paused
    if options.no_pex:
        parameters.flags |= libtorrent.torrent_flags.disable_pex
    if options.trusted:
        parameters.flags |= libtorrent.torrent_flags.seed_mode
    parameters.peers = parameters.peers + [endpoint(peer) for peer in options.peer]
    handle = session.add_torrent(parameters)
    threading.Thread(target=dial, args=(handle,), daemon=True).start()

    # Not wait_for_alert(): the alert that it returns may be moved meanwhile by those that follow.
    bell, ringer = socket.socketpair()
    bell.setblocking(False)
    session.set_alert_fd(ringer.fileno())
    completed = False
    told = not options.tell_piece
    while True:
        if select.select([bell], [], [], 0.2)[0]:
            bell.recv(1 << 12)
        for alert in session.pop_alerts():
            if isinstance(alert, libtorrent.listen_succeeded_alert):
                host = f"[{alert.address}]" if ":" in alert.address else alert.address
                say("listening", address=f"{host}:{alert.port}")
            elif isinstance(alert, (libtorrent.file_error_alert, libtorrent.torrent_error_alert,
                                    libtorrent.listen_failed_alert)):
                say("error", message=alert.message())
            elif isinstance(alert, (libtorrent.peer_disconnected_alert,
                                    libtorrent.tracker_error_alert)):
                say("note", message=alert.message())
            elif isinstance(alert, libtorrent.metadata_received_alert):
                say("metadata")
            elif isinstance(alert, libtorrent.piece_finished_alert):
                if not told:
                    say("piece")
                told = True
            elif isinstance(alert, libtorrent.cache_flushed_alert):
                say("completed")
        if not completed and handle.status().is_seeding:
            completed = True
            # Said when it is on disk: blocks may be waiting to be written.
            handle.flush_cache()


main()
