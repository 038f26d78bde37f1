"""An S3 server on this machine (moto's), and the environment variables to use it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow.fs as fs
from moto.server import ThreadedMotoServer


@dataclass(slots=True)
class LocalS3:
    """The server; it keeps its objects while it is stopped."""

    server: ThreadedMotoServer = field(default_factory=lambda: ThreadedMotoServer("127.0.0.1", 0, verbose=False))

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that clients read."""
        host, port = self.server.get_host_and_port()
        return {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "hush-hush",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def make_bucket(self, name: str) -> None:
        """Create a bucket; the environment must be set."""
        url = self.environment["AWS_ENDPOINT_URL"]
        fs.S3FileSystem(endpoint_override=url, allow_bucket_creation=True).create_dir(name)

    def stop(self) -> None:
        """Stop the server."""
        self.server.stop()

    def start(self) -> None:
        """Start the server again at the same address."""
        host, port = self.server.get_host_and_port()
        self.server = ThreadedMotoServer(host, port, verbose=False)
        self.server.start()


@contextmanager
def local_s3() -> Iterator[LocalS3]:
    """Start a server for the length of a block."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # otherwise it logs every request
    s3 = LocalS3()
    s3.server.start()
    try:
        yield s3
    finally:
        s3.stop()
