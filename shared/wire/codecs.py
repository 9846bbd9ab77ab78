"""Codecs: how the values of one shape become bytes, and how bytes become such a value or are refused."""

from hashlib import blake2b
from typing import Any, Generic, Literal, TypeVar

import msgspec

from reckoner.shared.errors import WireError

DIGEST_BYTES = 16

T = TypeVar("T")


class Codec(Generic[T]):
    """Turns the values of one shape into bytes and back."""

    def __init__(self, shape: Any, protocol: Literal["msgpack", "json"] = "msgpack") -> None:
        module = msgspec.msgpack if protocol == "msgpack" else msgspec.json
        self._encoder = module.Encoder()
        self._decoder: Any = module.Decoder(shape)

    def encode(self, value: T) -> bytes:
        """The value as bytes; equal values give equal bytes."""
        data: bytes = self._encoder.encode(value)
        return data

    def decode(self, data: bytes) -> T:
        """The value that `data` holds.

        Raises:
            WireError: the bytes do not have the shape.
        """
        try:
            value: T = self._decoder.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise WireError(f"Bytes from Redis were refused: {error}.", data=data) from error
        return value


class DigestCodec(Codec[T]):
    """A codec whose bytes begin with a digest of the rest, so that damage within a right shape is seen too.

    The digest covers the `place` that the bytes are for, so that those of another place do not pass there.
    """

    def encode(self, value: T, place: str = "") -> bytes:
        """The value as bytes; equal values for the same place give equal bytes."""
        body = super().encode(value)
        return _digest(body, place) + body

    def decode(self, data: bytes, place: str = "") -> T:
        """The value that `data` holds.

        Raises:
            WireError: the bytes do not match their digest, are for another place, or do not have the shape.
        """
        digest, body = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
        if _digest(body, place) != digest:
            raise WireError("Bytes from Redis were refused: they do not match their digest.", data=data)
        return super().decode(body)


def _digest(body: bytes, place: str) -> bytes:
    return blake2b(place.encode() + b"\0" + body, digest_size=DIGEST_BYTES).digest()
