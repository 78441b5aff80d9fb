"""End reasons and states have names in the code, and are the texts of the protocol everywhere else."""

import json

import pytest

from ukernel.protocol.boardstate import BoardState
from ukernel.protocol.reasons import EndReason


@pytest.mark.parametrize("constant", [*EndReason, *BoardState])
def test_each_is_its_text(constant):
    assert constant == constant.value
    assert str(constant) == f"{constant}" == "%s" % constant == constant.value  # noqa: UP031 - logging formats so
    assert json.dumps({"end": constant}) == json.dumps({"end": constant.value})


def test_the_texts_are_those_of_the_protocol():
    assert [str(reason) for reason in EndReason] == ["closed", "board gone", "board restarted", "hub stopped"]
    assert [str(state) for state in BoardState] == ["connecting", "ready", "gone", "reviving", "resetting", "refused"]
