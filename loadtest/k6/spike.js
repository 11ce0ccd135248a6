// A tenth of the rate, then all of it at once, then a tenth again: nothing fails, and afterwards it is as fast as before.
import { RATE, SECONDS, good, summary, trend } from './common.js';

const third = Math.max(2, Math.floor(SECONDS / 3));
const phase = (start, rate) => ({
  executor: 'constant-arrival-rate', rate, timeUnit: '1s', startTime: `${start}s`, duration: `${third}s`,
  preAllocatedVUs: 50, maxVUs: 300, gracefulStop: '5s',
});

export const options = {
  scenarios: {
    before: phase(0, Math.ceil(RATE / 10)),
    spike: phase(third, RATE),
    after: phase(2 * third + 1, Math.ceil(RATE / 10)),
  },
  summaryTrendStats: trend,
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    'http_req_duration{scenario:before}': ['p(95)<50'],
    'http_req_duration{scenario:spike}': ['p(95)<500'],
    'http_req_duration{scenario:after}': ['p(95)<50'],
  },
};

export default function () {
  good();
}

export const handleSummary = summary;
