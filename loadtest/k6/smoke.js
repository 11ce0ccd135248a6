// A few clients, every route and every kind of refusal: is what is measured later right at all?
import { SECONDS, call, pick, summary, tokens, trend } from './common.js';

export const options = {
  vus: 4,
  duration: `${SECONDS}s`,
  summaryTrendStats: trend,
  thresholds: { checks: ['rate==1'], http_req_failed: ['rate==0'] },
};

export default function () {
  call('/open', null, [200]);
  for (const algorithm of ['HS256', 'RS256', 'ES256', 'EdDSA']) {
    call(`/${algorithm}`, pick(tokens(algorithm)), [200]);
    call(`/${algorithm}`, null, [401]);
    call(`/${algorithm}`, pick(tokens('garbage')), [401]);
    call(`/${algorithm}`, tokens('expired')[0], [401]);
  }
  call('/no-such-route', null, [404]);
}

export const handleSummary = summary;
