"""What one would write with FastAPI and Dapr's extension: a row of audit_log for each event.

A bulk is one executemany, which asyncpg runs in one transaction.
"""

import json
import os
from contextlib import asynccontextmanager
from datetime import datetime, timezone

import asyncpg
from dapr.ext.fastapi import DaprApp
from fastapi import Body, FastAPI

PUBSUB = "todo-pubsub"
TOPIC = "task-events"
INSERT = """
INSERT INTO audit_log (
    event_id, source, type, event_type, contract, pubsub, topic, user_id, entity_id,
    occurred_at, recorded_at, payload, error, attempts
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT DO NOTHING
"""


@asynccontextmanager
async def lifespan(app: FastAPI):
    connections = int(os.environ["CONNECTIONS"])
    async with asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=connections, max_size=connections
    ) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)
dapr = DaprApp(app)


def row(event: dict) -> tuple:
    data = event["data"]
    return (
        event["id"],
        event["source"],
        event["type"],
        event["type"],
        "cloudevents",
        PUBSUB,
        TOPIC,
        data["user_id"],
        data["task_id"],
        datetime.fromisoformat(event["time"]),
        datetime.now(timezone.utc),
        json.dumps(event).encode(),
        None,
        None,
    )


@dapr.subscribe(pubsub=PUBSUB, topic=TOPIC, route="/events/task-events")
async def on_event(body: dict = Body()) -> dict:
    entries = body.get("entries")
    if entries is None:
        await app.state.pool.execute(INSERT, *row(body))
        return {"status": "SUCCESS"}
    await app.state.pool.executemany(INSERT, [row(entry["event"]) for entry in entries])
    return {
        "statuses": [{"entryId": entry["entryId"], "status": "SUCCESS"} for entry in entries]
    }


@app.get("/health")
async def health() -> dict:
    return {"status": "healthy"}
