// A fixed rate that does not wait for slow answers.
import { RATE, SECONDS, good, summary, trend } from './common.js';

export const options = {
  scenarios: {
    load: { executor: 'constant-arrival-rate', rate: RATE, timeUnit: '1s', duration: `${SECONDS}s`, preAllocatedVUs: 50, maxVUs: 200 },
  },
  summaryTrendStats: trend,
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    http_req_duration: ['p(99)<50'],
    dropped_iterations: [`count<${Math.ceil(RATE * SECONDS * 0.01)}`],
  },
};

export default function () {
  good();
}

export const handleSummary = summary;
