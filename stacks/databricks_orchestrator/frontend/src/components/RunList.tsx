import type { Run, RunStatus } from '../api'

const COLOURS: Record<RunStatus, string> = {
  running: 'bg-sky-100 text-sky-800',
  succeeded: 'bg-emerald-100 text-emerald-800',
  failed: 'bg-rose-100 text-rose-800',
}

const END = 'rounded-md border border-slate-200 px-2 py-1 text-xs font-medium text-slate-600 hover:bg-slate-100'

interface Props {
  runs: Run[] | null
  onFinish: (run: Run, status: Exclude<RunStatus, 'running'>) => void
}

export default function RunList({ runs, onFinish }: Props) {
  if (runs === null) return <p className="p-5 text-sm text-slate-500">Loading…</p>
  if (runs.length === 0) {
    return (
      <p data-testid="no-runs" className="p-5 text-sm text-slate-500">
        Nothing has run yet.
      </p>
    )
  }
  return (
    <ul data-testid="run-list" className="divide-y divide-slate-100">
      {runs.map((run) => (
        <li
          key={run.id}
          data-testid="run"
          data-id={run.id}
          data-job-name={run.job_name}
          data-status={run.status}
          className="flex flex-wrap items-center gap-x-4 gap-y-2 px-5 py-4"
        >
          <span className="w-12 text-sm tabular-nums text-slate-400">#{run.id}</span>
          <div className="min-w-0 flex-1">
            <p className="truncate font-medium">{run.job_name}</p>
            <p className="truncate text-sm text-slate-500">
              {new Date(run.started_at).toLocaleString()}
              {run.message && ` · ${run.message}`}
            </p>
          </div>
          {run.status === 'running' && (
            <div className="flex gap-2">
              <button data-testid="run-succeed" type="button" className={END} onClick={() => onFinish(run, 'succeeded')}>
                Succeed
              </button>
              <button data-testid="run-fail" type="button" className={END} onClick={() => onFinish(run, 'failed')}>
                Fail
              </button>
            </div>
          )}
          <span
            data-testid="run-status"
            className={`rounded-full px-2.5 py-1 text-xs font-semibold ${COLOURS[run.status]}`}
          >
            {run.status}
          </span>
        </li>
      ))}
    </ul>
  )
}
