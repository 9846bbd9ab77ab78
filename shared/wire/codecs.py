"""Codecs: encode values of a shape, and decode bytes or refuse them."""

from hashlib import blake2b
from typing import Any, Generic, Literal, TypeVar

import msgspec

from reckoner.shared.errors import WireError

DIGEST_BYTES = 16

T = TypeVar("T")


class Codec(Generic[T]):
    """Encodes and decodes the values of one shape."""

    def __init__(self, shape: Any, protocol: Literal["msgpack", "json"] = "msgpack") -> None:
        module = msgspec.msgpack if protocol == "msgpack" else msgspec.json
        self._encoder = module.Encoder()
        self._decoder: Any = module.Decoder(shape)

    def encode(self, value: T) -> bytes:
        """Encode a value; equal values give equal bytes."""
        data: bytes = self._encoder.encode(value)
        return data

    def decode(self, data: bytes) -> T:
        """Decode a value.

        Raises:
            WireError: the bytes do not have the shape.
        """
        try:
            value: T = self._decoder.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise WireError(f"Bytes from Redis are invalid: {error}.", data=data) from error
        return value


class DigestCodec(Codec[T]):
    """A codec whose bytes begin with a digest, which detects damage within a valid shape.

    The digest covers a `context` too, so that bytes for one context are invalid in another.
    """

    def encode(self, value: T, context: str = "") -> bytes:
        """Encode a value for a context."""
        body = super().encode(value)
        return _digest(body, context) + body

    def decode(self, data: bytes, context: str = "") -> T:
        """Decode a value.

        Raises:
            WireError: the bytes do not match their digest or its context, or do not have the shape.
        """
        digest, body = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
        if _digest(body, context) != digest:
            raise WireError("Bytes from Redis are invalid: they do not match their digest.", data=data)
        return super().decode(body)


def _digest(body: bytes, context: str) -> bytes:
    return blake2b(context.encode() + b"\0" + body, digest_size=DIGEST_BYTES).digest()
