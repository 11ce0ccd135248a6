// Good tokens of a provider. The runner starts it alone and beside a storm of tokens with made-up key ids, in turns.
import { RATE, SECONDS, provided, summary, trend } from './common.js';

export const options = {
  scenarios: {
    steady: {
      executor: 'constant-arrival-rate', rate: Math.ceil(RATE / 2), timeUnit: '1s', duration: `${SECONDS}s`,
      preAllocatedVUs: 30, maxVUs: 300,
    },
  },
  summaryTrendStats: trend,
  thresholds: { checks: ['rate==1'], http_req_failed: ['rate==0'], 'http_req_duration{kind:good}': ['p(99)<1000'] },
};

export default function () {
  provided();
}

export const handleSummary = summary;
