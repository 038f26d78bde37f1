"""What a person can put right (UserError) and what the machine refused; commands print either in one line."""

from __future__ import annotations

import errno


class UserError(ValueError):
    """Wrong usage or bad input. The message is one line: what is wrong, where, and what is allowed."""


class InfrastructureError(Exception):
    """What this machine refused (a full disk, a lost file): no fault of a candidate, and not to be scored as one.

    Not a ValueError or RuntimeError on purpose: a worker takes those for the candidate's own.
    """


_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def refusal(error: OSError) -> InfrastructureError | None:
    """The error as what the disk refused (no room, read-only, not ours), or None where it is something else."""
    if error.errno not in _REFUSALS:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return InfrastructureError(f"{where}{error.strerror}")


class CandidateError(Exception):
    """The candidate's own fault: `kind` and `reason` end up in a Fault."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason
