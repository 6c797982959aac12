// The released TypeScript SDK through the whole flow, with nothing but the URL: 401, metadata, registration, code, token, tools.
//
//     node flow.mjs URL
//
// Prints one line that says what authContext made of it, and exits 1 when that is a warning or an error.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

// Nobody goes there: the code is read from the redirect.
const CALLBACK = 'https://client.acme.example/callback';
const url = new URL(process.argv[2]);

const kept = {};
const logins = [];
const authProvider = {
  redirectUrl: CALLBACK,
  clientMetadata: {
    client_name: 'acme',
    redirect_uris: [CALLBACK],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'none',
  },
  clientInformation: () => kept.client,
  saveClientInformation: (client) => { kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens: (tokens) => { kept.tokens = tokens; },
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
  redirectToAuthorization: (to) => { logins.push(to); },
};

// A browser's part: the code at the end of the redirects.
async function login(to) {
  const cookies = new Map();
  for (let step = 0; step < 10; step += 1) {
    if (to.href.startsWith(CALLBACK)) return to.searchParams.get('code');
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const page = await fetch(to, { redirect: 'manual', headers: { accept: 'text/html', ...(cookie && { cookie }) } });
    for (const line of page.headers.getSetCookie()) {
      const [pair] = line.split(';');
      const at = pair.indexOf('=');
      cookies.set(pair.slice(0, at), pair.slice(at + 1));
    }
    const next = page.headers.get('location');
    if (!next) throw new Error(`the login stopped at ${to}: ${page.status} ${(await page.text()).slice(0, 300)}`);
    to = new URL(next, to);
  }
  throw new Error('the login goes round in circles');
}

const connect = async () => {
  const client = new Client({ name: 'acme', version: '1.0' });
  const transport = new StreamableHTTPClientTransport(url, { authProvider });
  try {
    await client.connect(transport);
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    await transport.finishAuth(await login(logins.at(-1)));
    return undefined;
  }
  return client;
};

const client = (await connect()) ?? (await connect());
const { structuredContent: facts } = await client.callTool({ name: 'authContext', arguments: {} });
await client.close();
const worse = facts.findings.filter(({ severity }) => severity !== 'info');
console.log(`${logins.length} login, ${facts.authentication.text}: ${facts.verdict}`);
if (worse.length > 0 || logins.length !== 1) {
  console.error('not healthy', JSON.stringify(worse));
  process.exitCode = 1;
}
