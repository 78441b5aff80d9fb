"""A page for tests, without a browser: runs cells in a real ipykernel and sees what is on the wire to it."""

import queue
import time

import numpy as np
from frontend import start_kernel
from jupyter_client import KernelManager

WAIT_S = 30.0
VIEW = "application/vnd.jupyter.widget-view+json"


class Page:
    """Runs cells in a kernel and keeps what the kernel sent to its page."""

    def __init__(self, **environment):
        self.manager = KernelManager(kernel_name="python3")
        self.client = start_kernel(self.manager, env=environment)
        self.messages: list = []

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def send(self, code):
        """Start a cell and return its id."""
        return self.client.execute(code)

    def run(self, code):
        """Run a cell to its end; returns all messages that are its."""
        parent = self.send(code)
        reply = self.client.get_shell_msg(timeout=WAIT_S)
        while reply["parent_header"]["msg_id"] != parent:
            reply = self.client.get_shell_msg(timeout=WAIT_S)
        self.until(lambda m: m["msg_type"] == "status" and state(m) == "idle" and is_child(m, parent))
        return [m for m in self.messages if is_child(m, parent)]

    def value(self, expression):
        """The repr of an expression, as Python sees it."""
        (result,) = [m for m in self.run(expression) if m["msg_type"] == "execute_result"]
        return result["content"]["data"]["text/plain"]

    def until(self, seen):
        """Wait for a message that is like this and return it."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            self.messages.append(message)
            if seen(message):
                return message
        last = [(m["msg_type"], str(m["content"])[:200]) for m in self.messages[-5:]]
        raise AssertionError(f"this never came; the last messages: {last}")

    def shown(self, like=lambda content: True):
        """The content of the next message to a canvas that is like this, with its numbers as `values`."""

        def seen(message):
            return is_custom(message) and "traces" in content_of(message) and like(content_of(message))

        message = self.until(seen)
        content = content_of(message)
        return {**content, "values": np.frombuffer(message["buffers"][0], "<f8" if content["wide"] else "<f4")}

    def whole(self, like=lambda content: True):
        """The same of messages that hold everything."""
        return self.shown(lambda content: content["whole"] and like(content))

    def say(self, model, content):
        """Send what the page's model would send."""
        message = self.client.session.msg("comm_msg", {"comm_id": model, "data": {"method": "custom", "content": content}})
        self.client.shell_channel.send(message)

    def update(self, like=lambda data: True):
        """The next replacement of something displayed."""
        found = self.until(lambda m: m["msg_type"] == "update_display_data" and like(m["content"]["data"]))
        return found["content"]["data"]

    def errors(self):
        return [m["content"] for m in self.messages if m["msg_type"] in ("error", "stream")]


def is_child(message, parent):
    return message["parent_header"].get("msg_id") == parent


def state(message):
    return message["content"].get("execution_state")


def is_custom(message):
    return message["msg_type"] == "comm_msg" and message["content"]["data"].get("method") == "custom"


def content_of(message):
    return message["content"]["data"]["content"]


def model_of(messages):
    """The id of the widget model that these messages display."""
    (shown,) = [m for m in messages if m["msg_type"] == "display_data" and VIEW in m["content"]["data"]]
    return shown["content"]["data"][VIEW]["model_id"]
