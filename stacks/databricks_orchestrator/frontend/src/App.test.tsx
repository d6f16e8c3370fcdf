import { cleanup, fireEvent, render, screen, waitFor, within } from '@testing-library/react'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import App from './App'
import type { Health, Job, Run } from './api'

// A small API in memory: the page is tested through the requests that it really makes.
let jobs: Job[]
let runs: Run[]
let health: Health | 'down'

const json = (body: unknown, status = 200) =>
  new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } })

async function answer(path: string, init?: RequestInit): Promise<Response> {
  const body = init?.body ? (JSON.parse(String(init.body)) as Record<string, string>) : null
  if (health === 'down') return new Response('<html>502</html>', { status: 502, headers: { 'content-type': 'text/html' } })
  if (path === '/health') return json(health, health.status === 'healthy' ? 200 : 503)
  if (path === '/api/jobs' && !body) return json(jobs)
  if (path === '/api/runs?limit=25') return json([...runs].reverse())
  if (path === '/api/jobs' && body) {
    if (jobs.some((job) => job.name === body.name)) return json({ detail: 'there is already a job' }, 409)
    const job = { id: jobs.length + 1, name: body.name, description: body.description, created_at: '2026-01-01T00:00:00Z' }
    jobs.push(job)
    return json(job, 201)
  }
  const triggered = /^\/api\/jobs\/(\d+)\/runs$/.exec(path)
  if (triggered) {
    const job = jobs.find(({ id }) => id === Number(triggered[1]))!
    const run: Run = {
      id: runs.length + 1,
      job_id: job.id,
      job_name: job.name,
      status: 'running',
      message: '',
      started_at: '2026-01-01T00:00:00Z',
      finished_at: null,
    }
    runs.push(run)
    return json(run, 201)
  }
  const finished = /^\/api\/runs\/(\d+)\/finish$/.exec(path)
  if (finished && body) {
    const run = runs.find(({ id }) => id === Number(finished[1]))!
    run.status = body.status as Run['status']
    return json(run)
  }
  throw new Error(`the page asked for ${path}`)
}

beforeEach(() => {
  jobs = []
  runs = []
  health = {
    status: 'healthy',
    environment: 'development',
    version: '1.0.0',
    host: 'test',
    database: 'postgresql',
    schema_revision: '0002',
    detail: null,
  }
  vi.stubGlobal('fetch', vi.fn(answer))
})

afterEach(() => {
  cleanup()
  vi.unstubAllGlobals()
})

test('shows the health of the API and its environment', async () => {
  render(<App />)
  await waitFor(() => expect(screen.getByTestId('health').dataset.status).toBe('healthy'))
  expect(screen.getByTestId('environment').textContent).toBe('development')
})

test('tells an unhealthy API from one that cannot be reached', async () => {
  health = { ...(health as Health), status: 'unhealthy', detail: 'connection refused' }
  const { unmount } = render(<App />)
  await waitFor(() => expect(screen.getByTestId('health').dataset.status).toBe('unhealthy'))
  expect(screen.getByTestId('health').title).toBe('connection refused')
  unmount()

  health = 'down'
  render(<App />)
  await waitFor(() => expect(screen.getByTestId('health').dataset.status).toBe('unreachable'))
})

test('creates a job, runs it and ends the run', async () => {
  render(<App />)
  await screen.findByTestId('no-jobs')
  await screen.findByTestId('no-runs')

  fireEvent.change(screen.getByTestId('job-name'), { target: { value: 'nightly load' } })
  fireEvent.change(screen.getByTestId('job-description'), { target: { value: 'loads tables' } })
  fireEvent.click(screen.getByTestId('job-create'))
  const job = await screen.findByTestId('job')
  expect(job.dataset.name).toBe('nightly load')
  expect(within(job).getByText('loads tables')).toBeTruthy()
  await waitFor(() => expect((screen.getByTestId('job-name') as HTMLInputElement).value).toBe(''))

  fireEvent.click(within(job).getByTestId('job-trigger'))
  const run = await screen.findByTestId('run')
  expect(run.dataset.jobName).toBe('nightly load')
  expect(run.dataset.status).toBe('running')

  fireEvent.click(within(run).getByTestId('run-succeed'))
  await waitFor(() => expect(screen.getByTestId('run').dataset.status).toBe('succeeded'))
  expect(screen.queryByTestId('run-succeed')).toBeNull()
})

test('says why a job was refused and keeps what was typed', async () => {
  jobs = [{ id: 1, name: 'taken', description: '', created_at: '2026-01-01T00:00:00Z' }]
  render(<App />)
  await screen.findByTestId('job')
  fireEvent.change(screen.getByTestId('job-name'), { target: { value: 'taken' } })
  fireEvent.click(screen.getByTestId('job-create'))
  expect((await screen.findByTestId('error')).textContent).toBe('there is already a job')
  expect((screen.getByTestId('job-name') as HTMLInputElement).value).toBe('taken')
})

test('a job without a name cannot be created', async () => {
  render(<App />)
  await screen.findByTestId('no-jobs')
  fireEvent.change(screen.getByTestId('job-name'), { target: { value: '   ' } })
  expect((screen.getByTestId('job-create') as HTMLButtonElement).disabled).toBe(true)
})
