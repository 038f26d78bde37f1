"""Errors that commands print in one line: of the user, of this machine, and of a candidate."""

from __future__ import annotations

import errno


class UserError(ValueError):
    """Wrong usage or bad input. The message is one line: what is wrong, where, and what is allowed."""


class InfrastructureError(Exception):
    """A failure of this machine, such as a full disk or a lost file, which must not be scored as a candidate's fault.

    It is no ValueError or RuntimeError because a worker reports those as the candidate's fault.
    """


_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def refusal(error: OSError) -> InfrastructureError | None:
    """The error as an InfrastructureError where the disk refused (full, read-only, no permission), else None."""
    if error.errno not in _REFUSALS:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return InfrastructureError(f"{where}{error.strerror}")


class CandidateError(Exception):
    """A fault of the candidate. `kind` and `reason` are recorded in a Fault."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason
