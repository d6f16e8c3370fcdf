import { useCallback, useEffect, useState } from 'react'
import { createJob, finishRun, getHealth, listJobs, listRuns, triggerJob } from './api'
import type { Health, Job, Run, RunStatus } from './api'

const REFRESH_MILLISECONDS = 3000

export interface Orchestrator {
  jobs: Job[] | null
  runs: Run[] | null
  health: Health | null
  error: string | null
  create: (name: string, description: string) => Promise<boolean>
  trigger: (job: Job) => Promise<boolean>
  finish: (run: Run, status: Exclude<RunStatus, 'running'>) => Promise<boolean>
}

/** Jobs, runs and health as the API has them, kept fresh, and what can be done with them. */
export function useOrchestrator(): Orchestrator {
  const [jobs, setJobs] = useState<Job[] | null>(null)
  const [runs, setRuns] = useState<Run[] | null>(null)
  const [health, setHealth] = useState<Health | null>(null)
  const [error, setError] = useState<string | null>(null)

  const refresh = useCallback(async () => {
    const [newHealth, newJobs, newRuns] = await Promise.allSettled([getHealth(), listJobs(), listRuns()])
    setHealth(newHealth.status === 'fulfilled' ? newHealth.value : null)
    // What is shown stays when the API is away for a moment.
    if (newJobs.status === 'fulfilled') setJobs(newJobs.value)
    if (newRuns.status === 'fulfilled') setRuns(newRuns.value)
  }, [])

  useEffect(() => {
    void refresh()
    const timer = setInterval(() => void refresh(), REFRESH_MILLISECONDS)
    return () => clearInterval(timer)
  }, [refresh])

  const act = async (action: () => Promise<unknown>): Promise<boolean> => {
    try {
      await action()
      setError(null)
      return true
    } catch (problem) {
      setError(problem instanceof Error ? problem.message : String(problem))
      return false
    } finally {
      await refresh()
    }
  }

  return {
    jobs,
    runs,
    health,
    error,
    create: (name, description) => act(() => createJob(name, description)),
    trigger: (job) => act(() => triggerJob(job.id)),
    finish: (run, status) => act(() => finishRun(run.id, status)),
  }
}
