"""A page that says where it runs."""

import signal
import socket
import sys

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello():
    return f"<h1>Hello from Flask</h1>\n<p>Served by {socket.gethostname()}</p>\n"


@app.get("/healthz")
def healthz():
    return "ok\n"


if __name__ == "__main__":
    # The first process of a container has no default signal handlers: without this a stop takes 30 seconds.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app.run(host="0.0.0.0", port=5000)
