"""The handshake on every connection to the hub: how both ends prove that they know its token, without sending it."""

import hashlib
import hmac

__all__ = ["GREETING", "MAX_LINE_BYTES", "hub_proof", "is_same", "peer_proof"]

GREETING = "ucore 1 "  # the hub's first words on every connection; its nonce follows
MAX_LINE_BYTES = 4096  # of a peer's first line: room for every option, not for a flood


def peer_proof(token: str, hub_nonce: str, peer_nonce: str, role: str, pipe: str = "") -> str:
    """Return what a peer shows the hub instead of the token (64 hex digits)."""
    return _proof(token, "peer", hub_nonce, peer_nonce, role, pipe)


def hub_proof(token: str, hub_nonce: str, peer_nonce: str) -> str:
    """Return what the hub shows a peer, so that a squatter on its port is found out (64 hex digits)."""
    return _proof(token, "hub", hub_nonce, peer_nonce)


def is_same(proof: str, expected: str) -> bool:
    """Compare two proofs in constant time. Raises nothing, whatever a peer sent."""
    return hmac.compare_digest(proof.encode("utf-8", "replace"), expected.encode())


def _proof(token: str, *words: str) -> str:
    return hmac.new(token.encode(), "\n".join(words).encode(), hashlib.sha256).hexdigest()
