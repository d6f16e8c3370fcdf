// What the API offers. Paths are relative: the page and the API share one address, whatever it is.

export type RunStatus = 'running' | 'succeeded' | 'failed'

export interface Job {
  id: number
  name: string
  description: string
  created_at: string
}

export interface Run {
  id: number
  job_id: number
  job_name: string
  status: RunStatus
  message: string
  started_at: string
  finished_at: string | null
}

export interface Health {
  status: 'healthy' | 'unhealthy'
  environment: string
  version: string
  host: string
  database: string
  schema_revision: string | null
  detail: string | null
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message)
  }
}

async function request<T>(path: string, body?: unknown): Promise<T> {
  const init: RequestInit =
    body === undefined
      ? {}
      : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const answer = await fetch(path, init)
  if (!answer.ok) throw new ApiError(answer.status, await explain(answer))
  return (await answer.json()) as T
}

// FastAPI gives a text, or for a body that fails validation a list of findings.
async function explain(answer: Response): Promise<string> {
  try {
    const { detail } = (await answer.json()) as { detail: string | { msg: string }[] }
    return typeof detail === 'string' ? detail : detail.map((finding) => finding.msg).join('; ')
  } catch {
    return `the API answered ${answer.status}`
  }
}

export const listJobs = () => request<Job[]>('/api/jobs')
export const createJob = (name: string, description: string) => request<Job>('/api/jobs', { name, description })
export const triggerJob = (id: number) => request<Run>(`/api/jobs/${id}/runs`, {})
export const listRuns = () => request<Run[]>('/api/runs?limit=25')
export const finishRun = (id: number, status: Exclude<RunStatus, 'running'>) =>
  request<Run>(`/api/runs/${id}/finish`, { status })

/** Asks how the API is; an API that says "unhealthy" (503) has answered too. */
export async function getHealth(): Promise<Health> {
  const answer = await fetch('/health')
  const kind = answer.headers.get('content-type') ?? ''
  if (!kind.includes('json')) throw new ApiError(answer.status, 'the API cannot be reached')
  return (await answer.json()) as Health
}
