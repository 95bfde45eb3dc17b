// A client that @hey-api/openapi-ts has generated: posts a job and a batch, waits, reads.

import { client } from "./openapi-ts/client.gen.js";
import { jobsBatch, jobsCreate, jobsRead } from "./openapi-ts/sdk.gen.js";

export async function use(baseUrl: string, token: string): Promise<string> {
  client.setConfig({ baseUrl, auth: () => `Token ${token}`, throwOnError: true });
  const { data: job } = await jobsCreate({
    body: { kind: "demo.countdown", params: { seconds: 0 } },
    throwOnError: true,
  });

  const batch = await jobsBatch({
    body: { jobs: [{ kind: "demo.countdown", params: { seconds: 0 } }, { kind: "report.activity" }] },
    throwOnError: true,
  });
  if (batch.data.accepted !== 2) throw new Error(JSON.stringify(batch.data));

  // @ts-expect-error The params are those of another kind.
  void (() => jobsCreate({ body: { kind: "demo.countdown", params: { url: "https://example.org" } } }));

  for (;;) {
    const { data, response } = await jobsRead({ path: { job_id: job.id }, throwOnError: true });
    if (data.finished_at) return data.status;
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(response.headers.get("Retry-After"))));
  }
}
