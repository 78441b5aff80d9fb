"""Cells in line: clients in turn, each one's cells in order."""

import pytest

from ukernel.errors import UsageError
from ukernel.hub import fairqueue
from ukernel.hub.execution import Execution


class Client:
    label = "a client"
    instance = "a process"


def line_of(*pairs):
    line = fairqueue.FairQueue()
    for client, request in pairs:
        line.add(Execution(client, request, b""))
    return line


def test_clients_take_turns_and_their_cells_keep_their_order():
    a, b = Client(), Client()
    line = line_of((a, 1), (a, 2), (a, 3), (b, 4), (b, 5))
    taken = []
    while line:
        taken.append(line.next().request)
    assert taken == [1, 4, 2, 5, 3]


def test_one_cell_or_all_of_a_client_can_be_taken_out():
    a, b = Client(), Client()
    line = line_of((a, 1), (a, 2), (b, 1))
    assert [cell.request for cell in line.take(a, 2)] == [2]
    assert line.take(a, 7) == [] == line.take(Client())
    assert [cell.client for cell in line] == [a, b]
    assert len(line.take(a)) == 1
    assert [cell.client for cell in line.clear()] == [b]
    assert not line


def test_a_client_has_so_many_cells_in_line_and_no_more(monkeypatch):
    monkeypatch.setattr(fairqueue, "MAX_QUEUED", 2)
    a, b = Client(), Client()
    line = line_of((a, 1), (a, 2), (b, 1))
    with pytest.raises(UsageError, match="2 cells"):
        line.add(Execution(a, 3, ""))
    assert len(list(line)) == 3
