"""The handshake: both ends prove that they know the token, and neither sends it."""

import hashlib
import hmac

import pytest

from ukernel.protocol import handshake

TOKEN = "0f" * 32


def test_a_proof_is_what_the_protocol_says():
    def keyed(text):
        return hmac.new(TOKEN.encode(), text, hashlib.sha256).hexdigest()

    assert handshake.peer_proof(TOKEN, "a", "b", "reader", "adc") == keyed(b"peer\na\nb\nreader\nadc")
    assert handshake.peer_proof(TOKEN, "a", "b", "client") == keyed(b"peer\na\nb\nclient\n")
    assert handshake.hub_proof(TOKEN, "a", "b") == keyed(b"hub\na\nb")


def test_a_good_proof_compares_as_right():
    proof = handshake.hub_proof(TOKEN, "a", "b")
    assert handshake.is_same(proof, handshake.hub_proof(TOKEN, "a", "b"))


def test_a_proof_is_good_for_one_greeting_one_role_and_one_pipe():
    proofs = {
        handshake.peer_proof(TOKEN, "a" * 32, "b" * 32, "reader", "adc"),
        handshake.peer_proof(TOKEN, "c" * 32, "b" * 32, "reader", "adc"),
        handshake.peer_proof(TOKEN, "a" * 32, "b" * 32, "client"),
        handshake.peer_proof(TOKEN, "a" * 32, "b" * 32, "reader", "imu"),
        handshake.peer_proof("1f" * 32, "a" * 32, "b" * 32, "reader", "adc"),
        handshake.hub_proof(TOKEN, "a" * 32, "b" * 32),
    }
    assert len(proofs) == 6
    assert all(len(proof) == 64 and TOKEN not in proof for proof in proofs)


@pytest.mark.parametrize("odd", ["", "µ", "\ud800", "0" * 63])
def test_odd_proofs_compare_as_wrong(odd):
    assert not handshake.is_same(odd, "0" * 64)
