"""The last lines of the hub's log, kept in memory."""

import logging

from ukernel.client import connection as client
from ukernel.hub import logbook


def test_the_log_is_kept_in_memory_its_last_lines_only(hub):
    log = logging.getLogger("ukernel.hub")
    before, level = log.handlers[:], log.level
    logbook.keep()
    try:
        with client.connect(start=False) as command:
            log.info("one")
            last = command.request("logs_request")["lines"][-1]
            assert (last["text"], last["level"]) == ("one", "info")
            log.warning("two")
            assert [line["text"] for line in command.request("logs_request", {"since": last["number"]})["lines"]] == ["two"]
            for number in range(logbook.MAX_LINES + 10):
                log.info("%d", number)
            assert len(command.request("logs_request")["lines"]) == logbook.MAX_LINES
    finally:
        log.handlers[:], log.level = before, level
        logbook._lines.clear()
