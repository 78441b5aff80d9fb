"""What ``%ucore`` asks of the switchboard, by message type.

The sub-kernel sends these on its stdin channel, see `stdinchannel`, and `magicrequests` answers there. The front end sees neither.
"""

__all__ = ["BOARD_INFO", "EXECUTE", "HUB", "INSPECT", "TYPES", "USE_BOARD"]

# The notebook's board, content: `wait`, whether for one that is not attached yet; answered by name, port and facts, or by `error`.
BOARD_INFO = "board_info_request"
# Make `board` the notebook's; answered as BOARD_INFO.
USE_BOARD = "use_board_request"
# Run `code`, or follow the `order` of `protocol.values`, on the board; answered by `text`, and by `value` or `stuck` where there is one.
EXECUTE = "execute_request"
# Of what type is what the board calls `name`; answered by `type`, if that is known at once.
INSPECT = "inspect_request"
# Ask the hub: a request of `type` with `content`; answered by what the hub answers.
HUB = "hub_request"

TYPES = frozenset((BOARD_INFO, USE_BOARD, EXECUTE, INSPECT, HUB))
