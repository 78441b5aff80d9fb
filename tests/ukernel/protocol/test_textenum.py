"""End reasons and states have names in the code, and are the texts of the protocol everywhere else."""

import json

import pytest

from ukernel.protocol.boardstate import BoardState
from ukernel.protocol.reasons import EndReason, LossCause


@pytest.mark.parametrize("constant", [*EndReason, *LossCause, *BoardState])
def test_each_is_its_text(constant):
    assert constant == constant.value
    assert str(constant) == f"{constant}" == "%s" % constant == constant.value  # noqa: UP031 - logging formats so
    assert json.dumps({"end": constant, constant: 1}) == json.dumps({"end": constant.value, constant.value: 1})
    assert {constant: 1}[constant.value] == {constant.value: 1}[constant] == 1


def test_the_texts_are_those_of_the_protocol():
    assert [str(reason) for reason in EndReason] == ["closed", "board gone", "board restarted", "hub stopped"]
    assert [str(cause) for cause in LossCause] == ["board", "no_listener", "reader", "replay"]
    assert [str(state) for state in BoardState] == ["connecting", "ready", "gone", "reviving", "resetting", "refused"]
