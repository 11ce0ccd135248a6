// Good traffic beside garbage, beside as much more good traffic (the control: the load generator needs the CPU as well), and
// alone, in turns. The runner compares the good traffic's p99.
// Garbage: no token at all, wrong signatures of each algorithm, unknown issuers, alg none, deep JSON, 15 KiB, noise.
import { RATE, SECONDS, call, good, pick, summary, tokens, trend } from './common.js';

const turn = Math.max(3, Math.floor(SECONDS / 3));
const extra = Math.ceil(RATE / 4);
// What is measured in a turn, and what runs beside it.
const turns = [['alone', null], ['beside_good', 'good_too'], ['beside_garbage', 'garbage']];
const scenarios = {};
const thresholds = { checks: ['rate==1'], http_req_failed: ['rate==0'] };
for (let round = 0; round < 3; round++) {
  turns.forEach(([measured, beside], place) => {
    // Each kind comes first, second and third once.
    const startTime = `${(3 * round + (place + round) % 3) * turn}s`;
    const at = (rate, exec) => ({
      executor: 'constant-arrival-rate', rate, timeUnit: '1s', startTime, duration: `${turn}s`, gracefulStop: '0s',
      preAllocatedVUs: 30, maxVUs: 150, exec,
    });
    scenarios[`${measured}${round}`] = at(RATE, 'measured');
    if (beside) scenarios[`${beside}${round}`] = at(extra, beside);
    thresholds[`http_req_duration{scenario:${measured}${round}}`] = ['p(99)<1000'];
  });
}

export const options = { scenarios, thresholds, summaryTrendStats: trend };

export function measured() {
  good();
}

export function good_too() {
  good();
}

export function garbage() {
  const path = `/${pick(['HS256', 'RS256', 'ES256', 'EdDSA'])}`;
  call(path, Math.random() < 0.1 ? null : pick(tokens('garbage')), [401]);
}

export const handleSummary = summary;
