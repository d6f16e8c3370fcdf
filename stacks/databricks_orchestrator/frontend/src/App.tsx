import type { ReactNode } from 'react'
import HealthBadge from './components/HealthBadge'
import JobForm from './components/JobForm'
import JobList from './components/JobList'
import RunList from './components/RunList'
import { useOrchestrator } from './useOrchestrator'

function Panel({ title, count, children }: { title: string; count?: number; children: ReactNode }) {
  return (
    <section className="overflow-hidden rounded-2xl border border-slate-200 bg-white shadow-sm">
      <h2 className="flex items-center justify-between border-b border-slate-100 px-5 py-4 font-semibold">
        {title}
        {count !== undefined && <span className="text-sm font-normal text-slate-400">{count}</span>}
      </h2>
      {children}
    </section>
  )
}

export default function App() {
  const { jobs, runs, health, error, create, trigger, finish } = useOrchestrator()
  return (
    <>
      <header className="bg-slate-900">
        <div className="mx-auto flex max-w-6xl flex-wrap items-center justify-between gap-4 px-6 py-6">
          <h1 data-testid="title" className="text-xl font-semibold text-white">
            Databricks Orchestrator
          </h1>
          <HealthBadge health={health} />
        </div>
      </header>
      <main className="mx-auto max-w-6xl space-y-6 px-6 py-8">
        {error && (
          <p
            data-testid="error"
            role="alert"
            className="rounded-lg border border-rose-200 bg-rose-50 px-4 py-3 text-sm text-rose-800"
          >
            {error}
          </p>
        )}
        <div className="grid items-start gap-6 lg:grid-cols-2">
          <Panel title="Jobs" count={jobs?.length}>
            <JobForm onCreate={create} />
            <JobList jobs={jobs} onTrigger={(job) => void trigger(job)} />
          </Panel>
          <Panel title="Latest runs">
            <RunList runs={runs} onFinish={(run, status) => void finish(run, status)} />
          </Panel>
        </div>
      </main>
    </>
  )
}
