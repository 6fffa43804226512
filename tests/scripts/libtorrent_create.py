#!/usr/bin/env python3
"""Makes a torrent with libtorrent: CONTENT, where to write it, bytes in a piece."""

import os
import sys

import libtorrent

content, target, piece_length = sys.argv[1], sys.argv[2], int(sys.argv[3])
files = libtorrent.file_storage()
libtorrent.add_files(files, content)
torrent = libtorrent.create_torrent(files, piece_length, flags=libtorrent.create_torrent.v1_only)
libtorrent.set_piece_hashes(torrent, os.path.dirname(content))
with open(target, "wb") as file:
    file.write(libtorrent.bencode(torrent.generate()))
