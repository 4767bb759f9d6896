"""Publishes CloudEvents with Dapr's SDK: publish.py PUBSUB TOPIC FILE, an event on each line."""

import sys

from dapr.clients import DaprClient

pubsub, topic, file = sys.argv[1:]
with DaprClient() as dapr, open(file, encoding="utf-8") as events:
    for event in events:
        dapr.publish_event(
            pubsub_name=pubsub,
            topic_name=topic,
            data=event.strip(),
            data_content_type="application/cloudevents+json",
        )
