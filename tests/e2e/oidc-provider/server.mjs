// A second identity provider for the suites: oidc-provider with password and client-credentials grants.
//   node server.mjs PORT
// With `resource` a token is a JWT of RFC 9068 (at+jwt), without it an opaque one. Keys live as long as the process:
// POST /control/rotate puts a new one before the others, POST /control/withdraw leaves only that.
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import Provider, { errors } from 'oidc-provider';

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const AUDIENCE = 'https://api.example.test';
const LIFETIME = 1800;

const USERS = {
  john: { groups: ['/staff', '/staff/billing'], roles: ['reader', 'writer'], operator: true },
  alex: { groups: ['/guests'], roles: ['reader'] },
};
const claimsOf = (name) => USERS[name] && {
  preferred_username: name,
  groups: USERS[name].groups,
  realm_access: { roles: USERS[name].roles },
  ...(USERS[name].operator && { resource_access: { gateway: { roles: ['operator'] } } }),
};

const client = (id, method, grants) => ({
  client_id: id, client_secret: `${id}-secret`, token_endpoint_auth_method: method,
  grant_types: grants, response_types: [], redirect_uris: [],
});
const CLIENTS = [
  client('gateway', 'client_secret_post', ['password', 'client_credentials']),
  client('gateway-basic', 'client_secret_basic', ['password', 'client_credentials']),
  client('batch', 'client_secret_post', ['client_credentials']),
  client('brief', 'client_secret_post', ['client_credentials']),
];

// What the provider stores outlives the instances that a rotation makes.
const stored = new Map();
class Memory {
  constructor(model) {
    this.model = model;
  }
  key(id) {
    return `${this.model}:${id}`;
  }
  async upsert(id, payload) {
    stored.set(this.key(id), payload);
  }
  async find(id) {
    return stored.get(this.key(id));
  }
  async findByUid() {}
  async findByUserCode() {}
  async consume() {}
  async destroy(id) {
    stored.delete(this.key(id));
  }
  async revokeByGrantId(grantId) {
    for (const [key, payload] of stored) if (payload.grantId === grantId) stored.delete(key);
  }
}

const newKey = () => ({
  ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
  kid: randomUUID(), use: 'sig', alg: 'RS256',
});
let keys = [newKey()];

const resourceServer = { scope: 'openid phone address profile', accessTokenFormat: 'jwt', audience: AUDIENCE, accessTokenTTL: undefined };

function build() {
  const provider = new Provider(issuer, {
    adapter: Memory,
    clients: CLIENTS,
    jwks: { keys },
    scopes: ['openid', 'phone', 'address', 'profile'],
    claims: { profile: ['preferred_username', 'groups', 'realm_access'] },
    findAccount: (_, id) => USERS[id] && { accountId: id, claims: async () => ({ sub: id, ...claimsOf(id) }) },
    extraTokenClaims: (_, token) => claimsOf(token.accountId),
    cookies: { keys: [randomUUID()] },
    ttl: {
      AccessToken: LIFETIME,
      ClientCredentials: (_, token, who) => (who.clientId === 'brief' ? 3 : LIFETIME),
      Grant: LIFETIME,
      IdToken: LIFETIME,
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true },
      userinfo: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        useGrantedResource: () => false,
        getResourceServerInfo: (_, resource) => {
          if (resource !== AUDIENCE) throw new errors.InvalidTarget();
          return { ...resourceServer };
        },
      },
    },
  });
  provider.registerGrantType('password', (ctx) => password(provider, ctx), ['username', 'password', 'scope', 'resource']);
  return { provider, callback: provider.callback() };
}

async function password(provider, ctx) {
  const { username, password: secret, scope = '', resource } = ctx.oidc.params;
  if (!USERS[username] || secret !== 'doe') throw new errors.InvalidGrant('user credentials invalid');
  const { client: who } = ctx.oidc;
  const grant = new provider.Grant({ clientId: who.clientId, accountId: username });
  grant.addOIDCScope(scope);
  const token = new provider.AccessToken({ accountId: username, client: who, gty: 'password', scope });
  if (resource) {
    if (resource !== AUDIENCE) throw new errors.InvalidTarget();
    grant.addResourceScope(resource, scope);
    token.resourceServer = new provider.ResourceServer(resource, { ...resourceServer });
  }
  token.grantId = await grant.save();
  const value = await token.save();
  let identity;
  if (scope.split(' ').includes('openid')) {
    const made = new provider.IdToken({ sub: username }, { ctx });
    made.scope = 'openid';
    identity = await made.issue({ use: 'idtoken' });
  }
  ctx.body = { access_token: value, expires_in: token.expiration, token_type: 'Bearer', scope, id_token: identity };
}

let current = build();
createServer((request, response) => {
  if (request.method === 'POST' && request.url.startsWith('/control/')) {
    keys = request.url.endsWith('/rotate') ? [newKey(), ...keys] : [keys[0]];
    current = build();
    response.end('{}');
    return;
  }
  current.callback(request, response);
}).listen(port, '127.0.0.1');
