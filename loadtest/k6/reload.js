// Kept connections and a new connection for each request, while the runner reloads the gateway every second.
import { RATE, SECONDS, good, summary, trend } from './common.js';

const steady = (share) => ({
  executor: 'constant-arrival-rate', rate: Math.ceil(RATE * share), timeUnit: '1s', duration: `${SECONDS}s`,
  preAllocatedVUs: 30, maxVUs: 150,
});

export const options = {
  // A script has one setting for all its connections; the runner starts it a second time with FRESH=1.
  noConnectionReuse: __ENV.FRESH === '1',
  scenarios: { steady: steady(__ENV.FRESH === '1' ? 0.2 : 1) },
  summaryTrendStats: trend,
  thresholds: { checks: ['rate==1'], http_req_failed: ['rate==0'], http_req_duration: ['p(99)<100'] },
};

export default function () {
  good();
}

export const handleSummary = summary;
