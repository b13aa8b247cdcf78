"""The service goes without OpenSSL's second copy; enrolment still finds it."""

import subprocess
import sys

SERVICE = """
import sys
from schoolkeeper_agent.light import without_openssl
with without_openssl():
    import schoolkeeper_agent.bootstrap
import grpc.aio, hashlib
import schoolkeeper_agent.renew, schoolkeeper_agent.transport
loaded = [name for name in ("ssl", "_ssl", "_hashlib") if name in sys.modules]
assert not loaded, loaded
assert hashlib.sha256(b"abc").hexdigest().startswith("ba7816bf")
import ssl
assert ssl.create_default_context() is not None
print("light")
"""


def test_what_the_service_imports_loads_no_openssl_and_it_can_still_be_imported() -> None:
    done = subprocess.run([sys.executable, "-c", SERVICE], capture_output=True, text=True, check=False)
    assert done.stdout == "light\n", done.stderr
