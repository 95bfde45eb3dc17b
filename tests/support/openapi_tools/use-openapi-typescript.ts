// A client whose types openapi-typescript has generated: posts a job and a batch, waits, reads.

import createClient from "openapi-fetch";
import type { paths } from "./openapi-typescript/schema";

export async function use(baseUrl: string, token: string): Promise<string> {
  const client = createClient<paths>({ baseUrl, headers: { Authorization: `Token ${token}` } });
  const { data: job, error } = await client.POST("/api/v1/jobs/", {
    body: { kind: "demo.countdown", params: { seconds: 0 } },
  });
  if (!job) throw new Error(error.detail);

  const batch = await client.POST("/api/v1/jobs/batch/", {
    body: { jobs: [{ kind: "demo.countdown", params: { seconds: 0 } }, { kind: "report.activity" }] },
  });
  if (batch.data?.accepted !== 2) throw new Error(JSON.stringify(batch));

  // @ts-expect-error The params are those of another kind.
  void (() => client.POST("/api/v1/jobs/", { body: { kind: "demo.countdown", params: { url: "https://example.org" } } }));
  // @ts-expect-error There is no such kind.
  void (() => client.POST("/api/v1/jobs/", { body: { kind: "make.coffee" } }));

  for (;;) {
    const read = await client.GET("/api/v1/jobs/{job_id}/", { params: { path: { job_id: job.id } } });
    if (!read.data) throw new Error(JSON.stringify(read.error));
    if (read.data.finished_at) return read.data.status;
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(read.response.headers.get("Retry-After"))));
  }
}
