"""A client's connection to the hub: lines of JSON, bounded."""

import json

from ucore import wire
from ukernel.client import connection as client
from ukernel.hub import connection
from ukernel.protocol import statefile


def test_replies_are_json_lines(hub):
    """The protocol as another language sees it, without the client library."""
    here = statefile.read()
    sock = client._handshake(here.host, here.port, here.token, {"role": "client"})
    with sock, sock.makefile("rwb") as lines:
        lines.write(b'{"type":"pipes_request","id":7,"content":{}}\n')
        lines.flush()
        assert json.loads(lines.readline()) == {"type": "pipes_reply", "parent": 7, "content": {"status": "ok", "pipes": []}}


def test_a_client_that_does_not_read_loses_output_not_replies(hub, notebook, monkeypatch):
    monkeypatch.setattr(connection, "MAX_PENDING_BYTES", 100_000)
    request = notebook.send("hold")
    notebook.until("status", request)
    board = hub.boards["kitchen"]
    text = b"x" * 60_000
    mine = next(iter(hub.hub.boards.clients))
    written = 0
    while not hub.call(lambda: mine._connection._dropped):
        board.say(wire.STREAM, text)
        written += len(text)
        assert written < 1 << 28
    board.finish()
    heard = notebook.until("execute_reply", request)
    assert heard[-1][1] == {"status": "ok"}
    assert sum(len(content.get("text", "")) for _, content in heard) < written
