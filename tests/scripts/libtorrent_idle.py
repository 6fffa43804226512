#!/usr/bin/env python3
"""One libtorrent session that seeds many torrents, for the benchmark.

Arguments: the folder of the torrent files, the folder of the data, ADDR:PORT to listen on. Prints
one JSON object, {"event": "ready"}, when every torrent is complete. Runs until it is killed.
"""

import json
import os
import signal
import sys

import libtorrent


def main():
    torrents, data, listen = sys.argv[1:]
    session = libtorrent.session({
        "listen_interfaces": listen,
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        # Otherwise the end of some check is lost among those of the others.
        "alert_queue_size": 1 << 20,
        "alert_mask": libtorrent.alert.category_t.status_notification,
    })
    waiting = 0
    for name in sorted(os.listdir(torrents)):
        parameters = libtorrent.add_torrent_params()
        parameters.ti = libtorrent.torrent_info(os.path.join(torrents, name))
        parameters.save_path = data
        # Those that it manages itself take turns: all are to be active.
        parameters.flags &= ~libtorrent.torrent_flags.auto_managed
        parameters.flags &= ~libtorrent.torrent_flags.paused
        session.async_add_torrent(parameters)
        waiting += 1
    while waiting:
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            if isinstance(alert, libtorrent.torrent_finished_alert):
                waiting -= 1
    print(json.dumps({"event": "ready"}), flush=True)
    signal.pause()


main()
