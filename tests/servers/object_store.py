"""moto's S3 server on loopback: an object store of another project."""

from __future__ import annotations

from typing import Any

import boto3
import requests
from botocore.config import Config
from moto.server import ThreadedMotoServer

KEYS = {"aws_access_key_id": "writer", "aws_secret_access_key": "not a secret"}


class MotoStore:
    """`with MotoStore() as store:` has one bucket, `news`."""

    def __enter__(self) -> MotoStore:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}/"
        # All servers of one process share their objects.
        requests.post(f"{self.endpoint}moto-api/reset", timeout=30).raise_for_status()
        config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
        self.client: Any = boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", config=config, **KEYS
        )
        self.client.create_bucket(Bucket="news")
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._server.stop()

    def list(self) -> dict[str, str]:
        """Return every key with its ETag."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="news")
        return {each["Key"]: each["ETag"] for page in pages for each in page.get("Contents", ())}

    def get(self, key: str) -> dict[str, Any]:
        """Return one object: its header fields, and `Body` as bytes."""
        answer = self.client.get_object(Bucket="news", Key=key)
        return {**answer, "Body": answer["Body"].read()}
