"""Column types that mean the same on SQLite and MySQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Dialect, LargeBinary
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator, TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BinaryUuid(TypeDecorator[UUID]):
    """A UUID as 16 bytes."""

    impl = LargeBinary(16)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        kind: TypeEngine[Any] = mysql.BINARY(16) if dialect.name == "mysql" else LargeBinary(16)
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: UUID | None, _: Dialect) -> bytes | None:
        return None if value is None else value.bytes

    def process_result_value(self, value: Any, _: Dialect) -> UUID | None:
        return None if value is None else UUID(bytes=bytes(value))


class MicrosecondTime(TypeDecorator[datetime]):
    """A moment in UTC as whole microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Dialect) -> int | None:
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any, _: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=int(value))
