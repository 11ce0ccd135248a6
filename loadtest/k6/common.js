// What the scripts share. The runner passes BASE (the gateway's address), MATERIAL (a JSON file of tokens) and SUMMARY.
import http from 'k6/http';
import { check } from 'k6';
import { SharedArray } from 'k6/data';

export const BASE = __ENV.BASE;
export const SECONDS = Number(__ENV.SECONDS || 10);
export const RATE = Number(__ENV.RATE || 500);

// An array for each kind: k6 copies an element whenever it is read, so elements must be small.
const material = {};
for (const kind of ['HS256', 'RS256', 'ES256', 'EdDSA', 'expired', 'garbage']) {
  material[kind] = new SharedArray(kind, () => JSON.parse(open(__ENV.MATERIAL))[kind]);
}
export const tokens = (kind) => material[kind];
export const pick = (list) => list[Math.floor(Math.random() * list.length)];

// One request, and whether its status is one of those that are due.
export function call(path, token, due, tags) {
  const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
  const answer = http.get(BASE + path, { headers, tags, responseCallback: http.expectedStatuses(...due) });
  check(answer, { 'status is the one due': (r) => due.includes(r.status) }, tags);
  return answer;
}

// A good token of a random algorithm on its route.
export function good(tags) {
  const algorithm = pick(['HS256', 'RS256', 'ES256', 'EdDSA']);
  return call(`/${algorithm}`, pick(tokens(algorithm)), [200], tags);
}

// A token of the provider, half of the time its newest. FEED is where the runner hands them out.
let held = { tokens: [], until: 0 };
export function provided() {
  if (Date.now() > held.until) {
    held = { tokens: http.get(__ENV.FEED, { tags: { kind: 'feed' } }).json(), until: Date.now() + 500 };
  }
  return call('/oidc', Math.random() < 0.5 ? held.tokens[0] : pick(held.tokens), [200], { kind: 'good' });
}

export const summary = (data) => ({ [__ENV.SUMMARY]: JSON.stringify(data) });
export const trend = ['min', 'med', 'p(95)', 'p(99)', 'p(99.9)', 'max'];
