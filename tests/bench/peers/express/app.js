// What one would write with Express and pg: a row of audit_log for each event; of a bulk all rows in
// one insert. As many workers as there are cores.

const cluster = require("node:cluster");
const express = require("express");
const { Pool } = require("pg");

const PUBSUB = "todo-pubsub";
const TOPIC = "task-events";
const COLUMNS = [
  ["event_id", "text"],
  ["source", "text"],
  ["type", "text"],
  ["event_type", "text"],
  ["contract", "text"],
  ["pubsub", "text"],
  ["topic", "text"],
  ["user_id", "text"],
  ["entity_id", "text"],
  ["occurred_at", "timestamptz"],
  ["recorded_at", "timestamptz"],
  ["payload", "bytea"],
  ["error", "text"],
  ["attempts", "bigint"],
];
const NAMES = COLUMNS.map(([name]) => name).join(", ");
const INSERT = {
  name: "insert",
  text: `INSERT INTO audit_log (${NAMES})
    VALUES (${COLUMNS.map((_, index) => `$${index + 1}`).join(", ")}) ON CONFLICT DO NOTHING`,
};
const INSERT_ALL = {
  name: "insert-all",
  text: `INSERT INTO audit_log (${NAMES})
    SELECT * FROM unnest(${COLUMNS.map(([, type], index) => `$${index + 1}::${type}[]`).join(", ")})
    ON CONFLICT DO NOTHING`,
};

function row(event) {
  return [
    event.id,
    event.source,
    event.type,
    event.type,
    "cloudevents",
    PUBSUB,
    TOPIC,
    event.data.user_id,
    event.data.task_id,
    event.time,
    new Date(),
    Buffer.from(JSON.stringify(event)),
    null,
    null,
  ];
}

function serve() {
  const pool = new Pool({
    connectionString: process.env.DATABASE_URL,
    max: Number(process.env.CONNECTIONS),
  });
  const app = express();
  app.use(express.json({ type: ["application/json", "application/*+json"], limit: "16mb" }));
  app.get("/health", (_, response) => response.json({ status: "healthy" }));
  app.get("/dapr/subscribe", (_, response) =>
    response.json([{ pubsubname: PUBSUB, topic: TOPIC, route: "/events/task-events" }]),
  );
  app.post("/events/task-events", async (request, response) => {
    const { entries } = request.body;
    if (!entries) {
      await pool.query({ ...INSERT, values: row(request.body) });
      return response.json({ status: "SUCCESS" });
    }
    const rows = entries.map((entry) => row(entry.event));
    const columns = COLUMNS.map((_, index) => rows.map((values) => values[index]));
    await pool.query({ ...INSERT_ALL, values: columns });
    response.json({
      statuses: entries.map(({ entryId }) => ({ entryId, status: "SUCCESS" })),
    });
  });
  app.listen(Number(process.env.PORT), "127.0.0.1");
}

if (cluster.isPrimary) {
  for (let worker = 0; worker < Number(process.env.WORKERS); worker += 1) {
    cluster.fork();
  }
  cluster.on("exit", () => process.exit(1));
} else {
  serve();
}
