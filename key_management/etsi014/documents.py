"""Data formats of ETSI GS QKD 014 V1.1.1, section 6. Names and spelling are the standard's.

Answers that hold keys have no class here: such a document is written and wiped as bytes.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictInt

DEFAULT_NUMBER = 1

MULTIPLE_OF_8 = "size shall be a multiple of 8"
MANDATORY_UNSUPPORTED = "not all extension_mandatory parameters are supported"
KEYS_NOT_FOUND = "one or more keys specified are not found on KME"


class Document(BaseModel):
    """Members that the standard does not know are passed over, as it asks of a KME."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Status(Document):
    """Section 6.1. Sizes are bits."""

    source_KME_ID: str
    target_KME_ID: str
    master_SAE_ID: str
    slave_SAE_ID: str
    key_size: int
    stored_key_count: int
    max_key_count: int
    max_key_per_request: int
    max_key_size: int
    min_key_size: int
    max_SAE_ID_count: int
    status_extension: dict[str, Any] | None = None


class KeyRequest(Document):
    """Section 6.2: what a master SAE asks for."""

    number: StrictInt = DEFAULT_NUMBER
    size: StrictInt | None = None
    """Bits; the KME's `key_size` if it is not given."""
    additional_slave_SAE_IDs: list[str] = Field(default_factory=list)
    extension_mandatory: Any = None
    extension_optional: Any = None


class KeyIdItem(Document):
    key_ID: UUID


class KeyIds(Document):
    """Section 6.4: the keys that a slave SAE asks for."""

    key_IDs: list[KeyIdItem] = Field(min_length=1)


class ErrorDocument(Document):
    """Section 6.5."""

    message: str
    details: list[dict[str, Any]] = Field(default_factory=list)
