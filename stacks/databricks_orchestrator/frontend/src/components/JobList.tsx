import type { Job } from '../api'

interface Props {
  jobs: Job[] | null
  onTrigger: (job: Job) => void
}

export default function JobList({ jobs, onTrigger }: Props) {
  if (jobs === null) return <p className="p-5 text-sm text-slate-500">Loading…</p>
  if (jobs.length === 0) {
    return (
      <p data-testid="no-jobs" className="p-5 text-sm text-slate-500">
        No jobs yet. Create the first one above.
      </p>
    )
  }
  return (
    <ul data-testid="job-list" className="divide-y divide-slate-100">
      {jobs.map((job) => (
        <li
          key={job.id}
          data-testid="job"
          data-id={job.id}
          data-name={job.name}
          className="flex items-center justify-between gap-4 px-5 py-4"
        >
          <div className="min-w-0">
            <p className="truncate font-medium">{job.name}</p>
            <p className="truncate text-sm text-slate-500">{job.description || '—'}</p>
          </div>
          <button
            data-testid="job-trigger"
            type="button"
            aria-label={`Run ${job.name}`}
            onClick={() => onTrigger(job)}
            className="shrink-0 rounded-lg border border-indigo-200 bg-indigo-50 px-3 py-1.5 text-sm font-medium text-indigo-700 hover:bg-indigo-100"
          >
            ▶ Run
          </button>
        </li>
      ))}
    </ul>
  )
}
