"""Forms as a browser sends them, bounded: text fields, and files in ``multipart/form-data`` (RFC 7578)."""

from __future__ import annotations

from dataclasses import dataclass, field
from email import message_from_bytes, policy
from urllib.parse import parse_qsl

MAX_FIELDS = 40


class FormError(ValueError):
    """A body that is no form of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The last value of each text field, and each file's name and bytes."""

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)


def read_form(content_type: str, body: bytes) -> Form:
    """Raises ``FormError``."""
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        return Form()
    if kind == "application/x-www-form-urlencoded":
        try:
            pairs = parse_qsl(
                body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"
            )
        except ValueError as error:
            raise FormError("the form cannot be read") from error
        return Form(fields=dict(pairs))
    if kind != "multipart/form-data":
        raise FormError(f"a form of the kind {kind[:60]!r} is not taken here")
    return _parts(content_type, body)


def _parts(content_type: str, body: bytes) -> Form:
    head = b"Content-Type: " + content_type.encode("latin-1", "replace").replace(b"\n", b"") + b"\r\n\r\n"
    message = message_from_bytes(head + body, policy=policy.HTTP)
    if not message.is_multipart():
        raise FormError("the form has no parts")
    fields: dict[str, str] = {}
    files: dict[str, tuple[str, bytes]] = {}
    for number, part in enumerate(message.iter_parts()):
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        if number >= MAX_FIELDS or not isinstance(name, str) or not isinstance(data, bytes):
            raise FormError("the form has a part that is none of ours")
        file_name = part.get_filename()
        if file_name is None:
            fields[name] = data.decode(errors="replace")
        elif data:
            files[name] = (file_name[:200], data)
    return Form(fields=fields, files=files)
