"""The reference nginx: configuration of the direct service and of a hop, one worker each.

Used by `bench.subjects`. Its settings are fixed: large buffers, no log, keepalive; see bench/README.md.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from bench.processes import Process

SMALL_BODY: Final = b"hello world\n"
FILE_BYTES: Final = 100_000_000
# What makes it the reference: with nginx's own defaults (4 KiB buffers, buffering on) it moves half as much.
_PROXY: Final = """
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_buffer_size 64k;
      proxy_buffers 8 64k;
      proxy_busy_buffers_size 128k;
"""
_FRAME: Final = """
{user}worker_processes 1;
daemon off;
pid {folder}/pid;
error_log {folder}/error.log crit;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_max_body_size 0;
  client_body_buffer_size 64k;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{rest}
}}
"""


def service(port: int, root: Path) -> str:
    """The service behind everything: 12 bytes on any path, and the 100 MB file."""
    return f"""
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 "hello world\\n"; }}
    location = /file {{ root {root}; }}
  }}"""


def hop(port: int, upstream_port: int, sink_port: int) -> str:
    """One relay: uploads go to the sink (or the next hop's upload path), the rest to the service."""
    return f"""
  upstream service {{ server 127.0.0.1:{upstream_port}; keepalive 128; keepalive_requests 1000000000; }}
  upstream sink {{ server 127.0.0.1:{sink_port}; keepalive 16; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{{_PROXY}      proxy_pass http://service; }}
    location = /upload {{{_PROXY}      proxy_pass http://sink; }}
  }}"""


def start(label: str, folder: Path, rest: str) -> Process:
    """Write the configuration of one nginx and start it; `Process.pid` is still the master."""
    place = folder / label.replace(" ", "-")
    place.mkdir()
    user = "user root;\n" if os.geteuid() == 0 else ""
    (place / "nginx.conf").write_text(_FRAME.format(user=user, folder=place, rest=rest), encoding="ascii")
    command = ["nginx", "-p", str(place), "-e", str(place / "error.log"), "-c", str(place / "nginx.conf")]
    return Process(label, command, folder)
