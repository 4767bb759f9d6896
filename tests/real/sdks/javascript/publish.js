// Publishes CloudEvents with Dapr's SDK: publish.js PUBSUB TOPIC FILE, an event on each line.

const fs = require("node:fs");
const { CommunicationProtocolEnum, DaprClient } = require("@dapr/dapr");

async function main([pubsub, topic, file]) {
  const client = new DaprClient({
    daprHost: "127.0.0.1",
    daprPort: process.env.DAPR_HTTP_PORT,
    communicationProtocol: CommunicationProtocolEnum.HTTP,
  });
  for (const line of fs.readFileSync(file, "utf8").trim().split("\n")) {
    // An object with the attributes of a CloudEvent is sent as one.
    const { error } = await client.pubsub.publish(pubsub, topic, JSON.parse(line));
    if (error) throw error;
  }
  await client.stop();
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
