// Good traffic alone and beside garbage (a fifth of all requests), in turns. The runner compares the good traffic's p99.
// Garbage: no token at all, wrong signatures of each algorithm, unknown issuers, alg none, deep JSON, 15 KiB, noise.
import { RATE, SECONDS, call, good, pick, summary, tokens, trend } from './common.js';

const turn = Math.max(3, Math.floor(SECONDS / 3));
const scenarios = {};
const thresholds = { checks: ['rate==1'], http_req_failed: ['rate==0'] };
for (let round = 0; round < 3; round++) {
  const at = (offset, rate, exec) => ({
    executor: 'constant-arrival-rate', rate, timeUnit: '1s', startTime: `${(2 * round + offset) * turn}s`,
    duration: `${turn}s`, gracefulStop: '0s', preAllocatedVUs: 30, maxVUs: 150, exec,
  });
  scenarios[`alone${round}`] = at(0, RATE, 'alone');
  scenarios[`attacked${round}`] = at(1, RATE, 'attacked');
  scenarios[`garbage${round}`] = at(1, Math.ceil(RATE / 4), 'garbage');
  for (const kind of ['alone', 'attacked']) {
    thresholds[`http_req_duration{scenario:${kind}${round}}`] = ['p(99)<1000'];
  }
}

export const options = { scenarios, thresholds, summaryTrendStats: trend };

export function alone() {
  good();
}

export function attacked() {
  good();
}

export function garbage() {
  const path = `/${pick(['HS256', 'RS256', 'ES256', 'EdDSA'])}`;
  call(path, Math.random() < 0.1 ? null : pick(tokens('garbage')), [401]);
}

export const handleSummary = summary;
