"""Clients of the stores beside PostgreSQL, as the drivers make them, for filling and for looking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
import redis
from botocore.config import Config
from pinecone import Pinecone

from tenant_lifecycle.sandbox.items import ItemReader, object_items, redis_items, vector_items
from tenant_lifecycle.sandbox.parts import Part
from tenant_lifecycle.stores.pinecone.answers import understand_answers

#: Of the sample application's embeddings.
DIMENSIONS = 32


def redis_client(settings: Mapping[str, Any]) -> redis.Redis:
    """For the settings of a store of kind ``redis``."""
    return redis.Redis.from_url(settings["url"], protocol=2)


def object_client(settings: Mapping[str, Any]) -> Any:
    """For the settings of a store of kind ``s3``."""
    return boto3.client(
        "s3", endpoint_url=settings["endpoint"], region_name=settings["region"],
        aws_access_key_id=settings["access_key"], aws_secret_access_key=settings["secret_key"],
        config=Config(max_pool_connections=16, s3={"addressing_style": "path"}),
    )  # fmt: skip


def vector_index(settings: Mapping[str, Any]) -> Any:
    """For the settings of a store of kind ``pinecone``; the index is made if it is not there."""
    understand_answers()
    pinecone = Pinecone(api_key=settings["api_key"], host=settings["host"])
    if settings["index"] not in {index.name for index in pinecone.indexes.list()}:
        values = {"type": "dense_vector", "dimension": DIMENSIONS, "metric": "cosine"}
        pinecone.indexes.create(
            name=settings["index"], schema={"fields": {"values": values}},
            deployment={"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"},
        )  # fmt: skip
    return pinecone.index(settings["index"])


@contextmanager
def open_items(stores: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, ItemReader]]:
    """Readers of what the stores with these settings hold."""
    readers: dict[str, ItemReader] = {}
    conn = redis_client(stores[Part.REDIS]) if Part.REDIS in stores else None
    if conn is not None:
        readers |= redis_items(conn)
    if Part.VECTORS in stores:
        readers |= vector_items(vector_index(stores[Part.VECTORS]))
    if Part.OBJECTS in stores:
        readers |= object_items(object_client(stores[Part.OBJECTS]), stores[Part.OBJECTS]["bucket"])
    try:
        yield readers
    finally:
        if conn is not None:
            conn.close()
