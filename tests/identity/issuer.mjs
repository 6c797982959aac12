// Two authorization servers made of oidc-provider, each on a free port of 127.0.0.1, until SIGTERM.
//
//     node issuer.mjs NAME CERTIFICATES KEY
//
// Prints one line of JSON: where they listen, and the public keys. `main` calls itself by a made-up public name, as behind a
// proxy: the gateways' tokens are its own. `open` is called by its address, with metadata and registration: for SDKs that find
// their way by themselves. Users need no password: `login_hint` is who logs in, and everything is consented to.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';

import Provider from 'oidc-provider';
import { exportJWK, generateKeyPair } from 'jose';

const [NAME, CHAIN, KEY] = process.argv.slice(2);
if (!KEY) throw new Error('name the issuer, its certificates and their key');
const USERS = { alice: '1001', bob: '1002' };
const SCOPES = ['openid', 'profile', 'email', 'offline_access'];

// Seconds that an access token lives. The short one is what expired tokens are made of.
const LIFE = 3600;
const SHORT_LIFE = 1;

// Resources at this host get encrypted tokens.
const ENCRYPTED = 'vault.acme.example';

async function signingKey(kid) {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  return { ...(await exportJWK(privateKey)), alg: 'RS256', use: 'sig', kid };
}

const encryption = await generateKeyPair('RSA-OAEP-256', { extractable: true });

function configuration(key) {
  const code = { response_types: ['code'], grant_types: ['authorization_code', 'refresh_token'] };
  const publicClient = { ...code, token_endpoint_auth_method: 'none', redirect_uris: ['https://client.acme.example/callback'] };
  const names = Object.fromEntries(Object.entries(USERS).map(([name, id]) => [id, name]));
  return {
    clients: [
      { client_id: 'client', ...publicClient },
      { client_id: 'client-short', ...publicClient },
      {
        client_id: 'gateway',
        client_secret: 'known-to-everybody-in-this-test',
        redirect_uris: ['https://mcp.acme.example/callback'],
        ...code,
      },
    ],
    jwks: { keys: [key] },
    scopes: [...SCOPES, 'mcp:tools'],
    claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    pkce: { required: (ctx, client) => client.clientAuthMethod === 'none' },
    findAccount: (ctx, id) => ({
      accountId: id,
      claims: () => ({
        sub: id,
        name: names[id],
        preferred_username: names[id],
        email: `${names[id]}@acme.example`,
        email_verified: true,
      }),
    }),
    // What gateways that look a name up would write, so that a header with it can be compared.
    extraTokenClaims: (ctx, token) => (token.accountId ? { username: names[token.accountId] } : undefined),
    issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
    features: {
      devInteractions: { enabled: false },
      registration: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      dPoP: { enabled: true },
      encryption: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource, client) => ({
          scope: 'mcp:tools',
          audience: resource,
          accessTokenTTL: client.clientId === 'client-short' ? SHORT_LIFE : LIFE,
          accessTokenFormat: 'jwt',
          jwt: {
            sign: { alg: 'RS256' },
            ...(new URL(resource).hostname === ENCRYPTED && {
              encrypt: { alg: 'RSA-OAEP-256', enc: 'A256GCM', key: encryption.publicKey, kid: 'vault-2026' },
            }),
          },
        }),
      },
    },
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    loadExistingGrant: async (ctx) => {
      const { client, session, params, provider } = ctx.oidc;
      const grant = new provider.Grant({ accountId: session.accountId, clientId: client.clientId });
      grant.addOIDCScope([...SCOPES, 'mcp:tools'].join(' '));
      for (const resource of [params.resource ?? []].flat()) grant.addResourceScope(resource, 'mcp:tools');
      await grant.save();
      return grant;
    },
    cookies: { keys: ['known-to-everybody-in-this-test'] },
    ttl: { IdToken: LIFE, RefreshToken: LIFE, Session: LIFE, Grant: LIFE, Interaction: LIFE },
  };
}

async function listen(name) {
  // With and without TLS: Apache's modules read keys by https only.
  const secured = createSecureServer({ cert: readFileSync(CHAIN), key: readFileSync(KEY) });
  const server = createServer();
  for (const each of [server, secured]) await new Promise((resolve) => each.listen(0, '127.0.0.1', resolve));
  const address = `http://127.0.0.1:${server.address().port}`;
  const secure = `https://127.0.0.1:${secured.address().port}`;
  const key = await signingKey(name ? 'acme-2026' : 'open-2026');
  const provider = new Provider(name ?? address, configuration(key));
  provider.proxy = true;
  const handle = provider.callback();
  const serve = async (request, response) => {
    if (!request.url.startsWith('/interaction/')) return handle(request, response);
    const { params, prompt } = await provider.interactionDetails(request, response);
    if (prompt.name !== 'login') console.log('unexpected prompt', JSON.stringify(prompt));
    const account = USERS[params.login_hint ?? 'alice'];
    await provider.interactionFinished(request, response, { login: { accountId: account } });
  };
  for (const each of [server, secured]) each.on('request', serve);
  const { kty, n, e, kid, alg, use } = key;
  return { issuer: provider.issuer, address, secure, jwks: { keys: [{ kty, n, e, kid, alg, use }] } };
}

process.on('SIGTERM', () => process.exit(0));
console.log(JSON.stringify({ main: await listen(NAME), open: await listen() }));
