"""The service goes without what it does not use; whoever needs it afterwards still finds it."""

import subprocess
import sys

SERVICE = """
import sys
from schoolkeeper_agent.cli import _parser
_parser().parse_args(["run"])
from schoolkeeper_agent.light import forget_first_classes, without_openssl, without_unused
with without_openssl(), without_unused():
    import schoolkeeper_agent.bootstrap
    import grpc.aio
assert forget_first_classes() > 200
import hashlib
import schoolkeeper_agent.sensors.linux.load, schoolkeeper_agent.enforcers.linux.load
import schoolkeeper_agent.net, schoolkeeper_agent.transport
unused = ("ssl", "_ssl", "_hashlib", "typing_extensions", "google.protobuf.internal.python_message", "html", "uuid",
          "schoolkeeper_agent.enrol", "schoolkeeper_agent.notice", "schoolkeeper_proto.notices.words", "pickle",
          "cryptography.x509", "cryptography.hazmat.primitives.serialization.ssh", "tuf",
          "shutil", "multiprocessing", "email", "http")
loaded = [name for name in unused if name in sys.modules]
assert not loaded, loaded
assert hashlib.sha256(b"abc").hexdigest().startswith("ba7816bf")
import ssl
assert ssl.create_default_context() is not None
from typing_extensions import TypeIs  # which typing of 3.11 does not have
from google.protobuf.internal import python_message
assert python_message.GeneratedProtocolMessageType
from google.protobuf.internal import builder
assert builder.python_message.GeneratedProtocolMessageType is python_message.GeneratedProtocolMessageType
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
key = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
assert isinstance(load_ssh_public_key(key), Ed25519PublicKey)
print("light")
"""

TWINS = """
from dataclasses import FrozenInstanceError, dataclass, replace
from schoolkeeper_agent.light import forget_first_classes

@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    text: str
    size: int = 0

@dataclass(slots=True, weakref_slot=True)
class Held:
    text: str

@dataclass(frozen=True)
class Plain:
    text: str

def of_name(name):
    return [cls for cls in object.__subclasses__() if cls.__name__ == name]

assert len(of_name("Word")) == 2, "Python releases it itself now: forget_first_classes can go"
forget_first_classes()
assert len(of_name("Word")) == 1
word = Word(text="a", size=1)
assert word == replace(word, size=1) and hash(word) == hash(Word(text="a", size=1)) and "size=1" in repr(word)
for attempt in (lambda: setattr(word, "text", "b"), lambda: setattr(word, "new", 1), lambda: delattr(word, "size")):
    try:
        attempt()
    except FrozenInstanceError:
        continue
    raise AssertionError("a frozen value was changed")
import weakref, pickle, copy
held, plain = Held("x"), Plain("x")
assert weakref.ref(held)() is held and weakref.ref(plain)() is plain
assert copy.deepcopy(word) == word and pickle.loads(pickle.dumps(word)) == word
print("once")
"""


def _said_by(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.stdout


def test_what_the_service_imports_loads_nothing_unused_and_it_can_still_be_imported() -> None:
    assert _said_by(SERVICE) == "light\n"


def test_the_class_that_dataclass_leaves_behind_is_released_and_the_other_stays_what_it_was() -> None:
    assert _said_by(TWINS) == "once\n"
