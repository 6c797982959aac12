// The TypeScript SDK `@modelcontextprotocol/sdk` 1.x, which knows the handshake era only: sdk_1.mjs URL legacy.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { LoggingMessageNotificationSchema } from "@modelcontextprotocol/sdk/types.js";
import { PATIENCE, Seen, legacy, main } from "./scenario.mjs";

await main(async (url, mode) => {
  if (mode !== "legacy") throw new Error("sdk 1.x knows the handshake era only");
  const seen = new Seen();
  const client = new Client({ name: "sdk_1", version: "1" });
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: seen.fetch });
  client.onerror = seen.problem;
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => seen.log(params));
  await client.connect(transport, { timeout: PATIENCE });
  await legacy(
    {
      seen,
      version: transport.protocolVersion,
      server: client.getServerVersion()?.name,
      sessionId: transport.sessionId,
      tools: async () => (await client.listTools()).tools.map(({ name }) => name),
      call: (name, args, options) => client.callTool({ name, arguments: args }, undefined, options),
      ping: () => client.ping(),
      setLevel: (level) => client.setLoggingLevel(level),
      close: async () => {
        // close() alone leaves the session behind.
        await transport.terminateSession();
        await client.close();
      },
    },
    url,
  );
});
