"""Errors of the image transfer.

    TransferError
    |- AnnouncementInvalid        the two ends were told something that cannot be
    |- QuotaExceeded              the announced image is larger than the receiver takes
    |- HeaderRefused              nothing changed; the connection ends
    |  |- HeaderMalformed         not one of our headers
    |  |- VersionRefused          another version of the format
    |  |- SuiteRefused            another suite than the announced one (no downgrade)
    |  |- HeaderMismatch          a field differs from the announcement
    |  |  `- WrongDestination     the stream is meant for somebody else
    |  |- StaleAttempt            a ticket that is void, used up or never issued
    |  |- ResumeIndexForged       a start chunk that the receiver did not name
    |  `- CommitmentMismatch      another key, or a header altered on the way
    |- TransferBusy               an attempt is under way and could not be ended in time
    |- TransferComplete           nothing is left to send; ask for the receipt
    |- StreamBroken               the connection ends, the transfer may resume
    |  |- ConnectionLost          reset, cut, or closed by the other end
    |  |  `- StreamTruncated      closed before its last record
    |  |- PeerStalled             too slow or silent
    |  |- RecordMalformed         unknown flag, wrong length, early or missing last
    |  |- RecordForged            authentication tag wrong
    |  |- TrailingBytes           bytes after the last record
    |  `- Superseded              a new ticket took the place of this attempt
    |- TransferCancelled          stopped on request
    |- TransferPoisoned           the transfer is over
    |  |- DigestMismatch          the sender sent another image than it announced
    |  |- PadForged               a tag under the one-time pad wrong; the pad is burned
    |  |- ContentMalformed        what came under the pad does not agree with itself
    |  |- SinkFailed              the VIM did not take the bytes
    |  `- AttemptsExhausted       too many attempts
    |- SourceError
    |  |- SourceUnreadable        the image file cannot be read
    |  `- SourceChanged           the image file changed while it was sent
    `- ReceiptRefused
       |- ReceiptMalformed        not one of our receipts
       |- ReceiptMismatch         a receipt for something else
       `- ReceiptForged           its MAC is wrong

`resumable` says whether a new attempt can bring the transfer to its end. No message, field or
representation holds key bytes or image bytes.
"""

from __future__ import annotations

from typing import ClassVar

from problem_details import ProblemError


class TransferError(ProblemError):
    """Root of this package's errors."""

    slug = "image-transfer-failed"
    title = "The image transfer failed"
    resumable: ClassVar[bool] = False


class AnnouncementInvalid(TransferError):
    slug = "announcement-invalid"
    title = "The announcement of the image is not valid"


class QuotaExceeded(TransferError):
    slug = "image-over-quota"
    title = "The image is larger than the receiver takes"


class HeaderRefused(TransferError):
    slug = "stream-header-refused"
    title = "The receiver refused the stream's header"
    resumable = True


class HeaderMalformed(HeaderRefused):
    slug = "stream-header-malformed"
    title = "The stream does not begin with a valid header"


class VersionRefused(HeaderRefused):
    slug = "stream-version-refused"
    title = "The stream has a version that is not spoken here"


class SuiteRefused(HeaderRefused):
    slug = "stream-suite-refused"
    title = "The stream uses another suite than announced"


class HeaderMismatch(HeaderRefused):
    """`field` names the first header field that differs from the announcement."""

    slug = "stream-header-mismatch"
    title = "The stream's header differs from the announcement"

    def __init__(self, field: str) -> None:
        super().__init__(
            f"The field '{field}' of the stream's header is not what was announced.",
            next_step="Announce the transfer again; if it repeats, somebody alters the stream.",
            field=field,
        )
        self.field = field


class WrongDestination(HeaderMismatch):
    slug = "stream-wrong-destination"
    title = "The stream is meant for another destination"


class StaleAttempt(HeaderRefused):
    slug = "stream-attempt-stale"
    title = "The stream's ticket is not valid any more"


class ResumeIndexForged(HeaderRefused):
    slug = "stream-resume-index-forged"
    title = "The stream starts at a chunk that the receiver did not name"


class CommitmentMismatch(HeaderRefused):
    slug = "stream-commitment-mismatch"
    title = "The stream is not sealed under the announced key"


class TransferBusy(TransferError):
    slug = "transfer-busy"
    title = "The transfer is already being received"
    resumable = True


class TransferComplete(TransferError):
    slug = "transfer-complete"
    title = "The image has been received already"


class StreamBroken(TransferError):
    slug = "stream-broken"
    title = "The stream broke"
    resumable = True


class ConnectionLost(StreamBroken):
    slug = "stream-connection-lost"
    title = "The connection of the stream was lost"


class StreamTruncated(ConnectionLost):
    slug = "stream-truncated"
    title = "The stream ended too early"


class PeerStalled(StreamBroken):
    slug = "stream-peer-stalled"
    title = "The other end of the stream is silent or too slow"


class RecordMalformed(StreamBroken):
    slug = "stream-record-malformed"
    title = "A record of the stream has a wrong form"


class RecordForged(StreamBroken):
    slug = "stream-record-forged"
    title = "A record of the stream is not authentic"


class TrailingBytes(StreamBroken):
    slug = "stream-trailing-bytes"
    title = "The stream goes on after its last record"


class Superseded(StreamBroken):
    slug = "stream-superseded"
    title = "A newer attempt took the place of this one"


class TransferCancelled(TransferError):
    slug = "transfer-cancelled"
    title = "The transfer was cancelled"


class TransferPoisoned(TransferError):
    slug = "transfer-poisoned"
    title = "The transfer cannot be completed"


class DigestMismatch(TransferPoisoned):
    slug = "image-digest-mismatch"
    title = "The received image is not the announced one"


class PadForged(TransferPoisoned):
    slug = "pad-tag-forged"
    title = "A tag under the one-time pad does not verify"


class ContentMalformed(TransferPoisoned):
    slug = "pad-content-malformed"
    title = "What came under the one-time pad is no image"


class SinkFailed(TransferPoisoned):
    slug = "image-sink-failed"
    title = "The image could not be handed on"


class AttemptsExhausted(TransferPoisoned):
    slug = "transfer-attempts-exhausted"
    title = "The transfer has used up its attempts"


class SourceError(TransferError):
    slug = "image-source-failed"
    title = "The image file could not be sent"


class SourceUnreadable(SourceError):
    slug = "image-source-unreadable"
    title = "The image file cannot be read"


class SourceChanged(SourceError):
    slug = "image-source-changed"
    title = "The image file changed while it was sent"


class ReceiptRefused(TransferError):
    slug = "receipt-refused"
    title = "The receipt is not valid"


class ReceiptMalformed(ReceiptRefused):
    slug = "receipt-malformed"
    title = "The receipt has a wrong form"


class ReceiptMismatch(ReceiptRefused):
    """`field` names the first field that belongs to something else."""

    slug = "receipt-mismatch"
    title = "The receipt is for something else"

    def __init__(self, field: str) -> None:
        super().__init__(
            f"The field '{field}' of the receipt is not that of the transfer.",
            next_step="Keep the key and ask the receiver for the receipt again.",
            field=field,
        )
        self.field = field


class ReceiptForged(ReceiptRefused):
    slug = "receipt-forged"
    title = "The receipt is not authentic"
