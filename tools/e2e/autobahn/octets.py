"""Python 2's strings of octets, for the Autobahn cases under Python 3.

A case's "byte string" is a `str` of characters U+0000 to U+00FF. It becomes bytes on its way into the WebSocket
protocol, and bytes from the wire become such a string on their way to the case. Copied into the adapted suite by
prepare.py; the suite's files import it also under the name `binascii`, of which they use one function.
"""

import binascii

from autobahn.websocket import utf8validator


def raw(value):
    """The octets of a string of octets; bytes and None pass."""
    return value.encode("latin-1") if isinstance(value, str) else value


def text(value):
    """The string of octets for bytes; strings and None pass."""
    return value.decode("latin-1") if isinstance(value, (bytes, bytearray)) else value


def b2a_hex(value):
    """As in Python 2: hexadecimal digits as a string."""
    return binascii.b2a_hex(raw(value)).decode("ascii")


class Utf8Validator:
    """The library's validator, fed with strings of octets."""

    def __init__(self):
        self.inner = utf8validator.Utf8Validator()

    def reset(self):
        self.inner.reset()

    def validate(self, value):
        return self.inner.validate(raw(value))


class Boundary:
    """Stands first among the bases of the fuzzing client's protocol, between the cases and the wire."""

    def onMessage(self, payload, isBinary):
        super().onMessage(text(payload), isBinary)

    def onPong(self, payload):
        super().onPong(text(payload))

    def sendFrame(self, opcode, payload="", **options):
        super().sendFrame(opcode, payload=raw(payload), **options)

    def sendMessage(self, payload, *arguments, **options):
        super().sendMessage(raw(payload), *arguments, **options)

    def sendMessageFrameData(self, payload, sync=False):
        return super().sendMessageFrameData(raw(payload), sync)

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        # A reply repeats the reason that came, which the library keeps decoded; a case gives octets.
        if isReply and isinstance(reasonUtf8, str):
            reasonUtf8 = reasonUtf8.encode("utf-8")
        super().sendCloseFrame(code=code, reasonUtf8=raw(reasonUtf8), isReply=isReply)
