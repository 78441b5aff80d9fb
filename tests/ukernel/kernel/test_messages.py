"""Jupyter messages as frames: taken apart without being changed, signed so that jupyter_client agrees."""

import pytest
from jupyter_client.session import Session

from ukernel.kernel.messages import Message, MessageSigner

KEY = "a key for tests"


@pytest.fixture
def session():
    return Session(key=KEY.encode())


def test_what_the_signer_makes_jupyter_client_accepts(session):
    request = session.msg("execute_request", {"code": "1"})
    parent = Message(session.serialize(request)).header_frame
    frames = MessageSigner(KEY).make("stream", {"name": "stdout", "text": "µ \udcff"}, parent=parent, idents=[b"topic"])
    idents, rest = session.feed_identities(frames)
    message = session.deserialize(rest)
    assert idents == [b"topic"]
    assert message["msg_type"] == "stream"
    assert message["content"] == {"name": "stdout", "text": "µ \udcff"}
    assert message["parent_header"]["msg_id"] == request["header"]["msg_id"]


def test_a_message_is_read_without_being_changed(session):
    frames = [*session.serialize(session.msg("comm_msg", {"data": 1}), [b"me", b"inner"]), b"buffer"]
    message = Message(list(frames))
    assert (message.type, message.content, message.idents) == ("comm_msg", {"data": 1}, [b"me", b"inner"])
    assert message.subshell is None
    assert message.frames == frames


def test_a_signature_of_jupyter_client_is_accepted_once(session):
    signer = MessageSigner(KEY)
    message = Message(session.serialize(session.msg("execute_request", {"code": "1"})))
    assert signer.accepts(message)
    assert not signer.accepts(message)


@pytest.mark.parametrize("frame", [2, 5])
def test_a_changed_message_is_refused(session, frame):
    frames = session.serialize(session.msg("execute_request", {"code": "1"}))
    frames[frame] = frames[frame].replace(b"1", b"2")
    assert not MessageSigner(KEY).accepts(Message(frames))


def test_without_a_key_nothing_is_signed_and_everything_is_accepted():
    signer = MessageSigner("")
    message = Message(signer.make("status", {"execution_state": "idle"}))
    assert message.signature == b""
    assert signer.accepts(message)
    assert signer.accepts(message)


def test_another_content_gets_another_signature(session):
    reply = Message(session.serialize(session.msg("kernel_info_reply", {"banner": "x", "status": "ok"}), [b"me"]))
    changed = Message(MessageSigner(KEY).with_content(reply, {"banner": "y"}))
    assert changed.content == {"banner": "y"}
    assert changed.idents == [b"me"]
    assert changed.id == reply.id
    assert MessageSigner(KEY).accepts(changed)


@pytest.mark.parametrize("frames", [[b"no delimiter"], [b"<IDS|MSG>", b"", b"{}"], [b"<IDS|MSG>", b"", b"{", b"", b"", b""]])
def test_what_is_no_message_is_refused(frames):
    with pytest.raises(ValueError):
        Message(frames)


def test_the_memory_for_signatures_is_bounded(session, monkeypatch):
    monkeypatch.setattr("ukernel.kernel.messages.MAX_REMEMBERED", 2)
    signer = MessageSigner(KEY)
    messages = [Message(session.serialize(session.msg("status", {"n": n}))) for n in range(3)]
    assert all(signer.accepts(message) for message in messages)
    assert signer.accepts(messages[0])
    assert not signer.accepts(messages[2])
