"""A notebook as the hub sees it."""

from patience import PATIENCE_S

from ukernel.client import connection as client

KITCHEN = "scripted://kitchen"


class Notebook:
    """A client attached to a board, and what it has heard."""

    def __init__(self, board=KITCHEN, label="a notebook", **kernel):
        self.client = client.connect(start=False)
        answer = self.client.request("attach_request", {"board": board, "client": label, **kernel})
        self.board, self.notice = answer["board"], answer["notice"]

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.client.close()

    def send(self, code):
        return self.client.send("execute_request", {"code": code, "store": True})

    def next(self):
        message = self.client.receive(PATIENCE_S)
        assert message is not None, "nothing came"
        return message

    def until(self, type, parent):
        """All messages up to one of this type, as (type, content) pairs; all must belong to `parent`."""
        heard = []
        while not heard or heard[-1][0] != type:
            message = self.next()
            assert message["parent"] == parent
            heard.append((message["type"], message["content"]))
        return heard

    def run(self, code):
        return self.until("execute_reply", self.send(code))
