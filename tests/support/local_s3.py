"""A real S3 server on this machine (moto's), and the environment that leads every process to it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow.fs as fs
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line a request otherwise


@dataclass(slots=True)
class LocalS3:
    """Keeps what it was given while it is stopped."""

    server: ThreadedMotoServer = field(default_factory=lambda: ThreadedMotoServer("127.0.0.1", 0, verbose=False))

    @property
    def environment(self) -> dict[str, str]:
        """What Amazon's tools and ours read."""
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
        """Go away."""
        self.server.stop()

    def start(self) -> None:
        """Come back at the same place."""
        host, port = self.server.get_host_and_port()
        self.server = ThreadedMotoServer(host, port, verbose=False)
        self.server.start()


@contextmanager
def local_s3() -> Iterator[LocalS3]:
    """Start a server for the length of a block."""
    s3 = LocalS3()
    s3.server.start()
    try:
        yield s3
    finally:
        s3.stop()
