// The TypeScript SDK's client of version 2, `@modelcontextprotocol/client`, which knows both eras: client_2.mjs URL legacy|auto.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { PATIENCE, Seen, legacy, main, modern } from "./scenario.mjs";

await main(async (url, mode) => {
  const seen = new Seen();
  const client = new Client({ name: "client_2", version: "1" }, { versionNegotiation: { mode } });
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: seen.fetch });
  client.onerror = seen.problem;
  client.setNotificationHandler("notifications/message", ({ params }) => seen.log(params));
  await client.connect(transport, { timeout: PATIENCE });
  const adapter = {
    seen,
    version: client.getNegotiatedProtocolVersion(),
    server: client.getServerVersion()?.name,
    sessionId: transport.sessionId,
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: (name, args, { logLevel, ...options }) =>
      client.callTool(
        { name, arguments: args, ...(logLevel && { _meta: { "io.modelcontextprotocol/logLevel": logLevel } }) },
        options,
      ),
    ping: () => client.ping(),
    setLevel: (level) => client.setLoggingLevel(level),
    listen: async () => {
      const subscription = await client.listen({ toolsListChanged: true }, { timeout: PATIENCE });
      await subscription.close();
      const honoured = JSON.stringify(subscription.honoredFilter);
      return `honoured ${honoured === "{}" ? "nothing" : honoured}: the list of tools never changes`;
    },
    close: async () => {
      // close() alone leaves the session behind.
      if (mode === "legacy") await transport.terminateSession();
      await client.close();
    },
  };
  await (mode === "legacy" ? legacy(adapter, url) : modern(adapter));
});
