"""Fixtures of tests that have a hub with scripted boards in a thread of this process; a conftest that imports them gives them to its folder."""

import pytest
from hubnotebook import KITCHEN
from patience import wait_until
from scripted import running_hub

from ukernel.client import connection


@pytest.fixture
def hub():
    with running_hub() as thread:
        yield thread


@pytest.fixture
def attached(hub):
    """A notebook's connection that has attached the board; whose answer to the hub's first question is none of the test's events."""
    with connection.connect(start=False) as attached:
        attached.request("attach_request", {"board": KITCHEN, "client": "a notebook"})
        asked = hub.hub.boards.by_port[KITCHEN].introspection
        wait_until(lambda: not asked._open, "the answer to the hub's first question")
        yield attached


@pytest.fixture
def board(hub, attached):
    return hub.boards["kitchen"]
