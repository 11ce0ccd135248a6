// openid-client against the oauth2 plugin: client credentials, code with PKCE, refresh. Prints what it was given as JSON.
//   node oauth2.mjs BASE CLIENT_ID CLIENT_SECRET PROVISION_KEY
import * as client from "openid-client";

const [base, id, secret, provisionKey] = process.argv.slice(2);
const server = {
  issuer: base,
  authorization_endpoint: `${base}/oauth2/authorize`,
  token_endpoint: `${base}/oauth2/token`,
};
const callback = "https://app.test/callback";

async function flow(authentication) {
  const config = new client.Configuration(server, id, { client_secret: secret }, authentication);
  const own = await client.clientCredentialsGrant(config, { scope: "email" });

  const verifier = client.randomPKCECodeVerifier();
  const state = client.randomState();
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: callback,
    scope: "email",
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    state,
  });
  // The login page hands on what the browser brought, and vouches for the user.
  const form = new URLSearchParams(url.searchParams);
  form.set("provision_key", provisionKey);
  form.set("authenticated_userid", "user-7");
  const answer = await fetch(server.authorization_endpoint, { method: "POST", body: form });
  const { redirect_uri: location } = await answer.json();
  const checks = { pkceCodeVerifier: verifier, expectedState: state };
  const granted = await client.authorizationCodeGrant(config, new URL(location), checks);

  const wrong = { pkceCodeVerifier: client.randomPKCECodeVerifier(), expectedState: state };
  const replay = await client.authorizationCodeGrant(config, new URL(location), wrong).catch((error) => error.error);
  const refreshed = await client.refreshTokenGrant(config, granted.refresh_token);
  const again = await client.refreshTokenGrant(config, granted.refresh_token).catch((error) => error.error);
  return { own, granted, replay, refreshed, again };
}

const results = [await flow(client.ClientSecretPost(secret)), await flow(client.ClientSecretBasic(secret))];
console.log(JSON.stringify(results));
