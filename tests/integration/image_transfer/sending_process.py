"""A sender as a process: `sending_process.py PORT IMAGE`, its ticket as JSON on standard input."""

import json
import socket
import sys
from pathlib import Path
from uuid import UUID

from image_transfer import Announcement, Attempt, KeySource, derive_attempt_keys, send_image

job = json.load(sys.stdin)
announcement = Announcement(
    transfer_id=UUID(int=1),
    image_digest=bytes.fromhex(job["digest"]),
    image_size=job["size"],
    key_id=UUID(int=2),
    key_source=KeySource.EMULATED,
    sender="a",
    destination="b",
    chunk_log2=16,
)
attempt = Attempt(job["number"], job["start_chunk"], bytes.fromhex(job["nonce"]))
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    report = send_image(
        connection,
        Path(sys.argv[2]),
        announcement,
        attempt,
        lambda header: derive_attempt_keys(bytes.fromhex(job["key"]), header),
    )
print(report.plain_bytes)
