"""A client of the hub that runs board cells, without a kernel around it."""

from patience import PATIENCE_S

from ukernel.client import connection


class BoardClient:
    """A program that runs cells on the board at ``port``, through the hub that this process finds."""

    def __init__(self, port):
        self._hub = connection.connect(start=False)
        self.request = self._hub.request
        self.request("attach_request", {"board": port, "client": "a test"}, 30)

    def begin(self, code):
        """Return once the board runs the cell."""
        self._hub.send("execute_request", {"code": code})
        busy = None
        while busy != "busy":
            message = self._hub.receive(PATIENCE_S)
            assert message, "nothing came"
            busy = message["content"].get("execution_state")

    def run(self, code, interrupt_when=None):
        """Run a cell to its end; returns (what it printed on stderr and as result, its reply).

        interrupt_when: called once the board has taken it on; it is interrupted when that returns.
        """
        number = self._hub.send("execute_request", {"code": f"_ucore_show({code})" if "\n" not in code else code})
        said = ""
        while True:
            message = self._hub.receive(PATIENCE_S)
            assert message, "nothing came"
            content = message["content"]
            if message["type"] == "status" and content["execution_state"] == "busy" and interrupt_when:
                interrupt_when()
                self._hub.send("interrupt_request", {"parent": number})
            elif message["type"] == "stream":
                said += content["text"] * (content["name"] == "stderr")
            elif message["type"] == "execute_result":
                said += content["data"]["text/plain"]
            elif message["type"] == "execute_reply" and message["parent"] == number:
                return said, content

    def close(self):
        self._hub.close()
