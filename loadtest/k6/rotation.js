// Tokens of a provider that rotates its keys, answers slowly, and goes away at the end; the runner sees to that.
// A request whose key is new waits for the fetch that brings it, so many may be under way at once.
import { RATE, SECONDS, provided, summary, trend } from './common.js';

export const options = {
  scenarios: {
    steady: {
      executor: 'constant-arrival-rate', rate: Math.ceil(RATE / 5), timeUnit: '1s', duration: `${SECONDS}s`,
      preAllocatedVUs: 50, maxVUs: 1000, gracefulStop: '10s',
    },
  },
  summaryTrendStats: trend,
  thresholds: { checks: ['rate==1'], http_req_failed: ['rate==0'], 'http_req_duration{kind:good}': ['max<6000'] },
};

export default function () {
  provided();
}

export const handleSummary = summary;
