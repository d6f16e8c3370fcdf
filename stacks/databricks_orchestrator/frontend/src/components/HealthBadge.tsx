import type { Health } from '../api'

const LOOKS = {
  healthy: { dot: 'bg-emerald-500', text: 'API healthy' },
  unhealthy: { dot: 'bg-amber-500', text: 'API unhealthy' },
  unreachable: { dot: 'bg-rose-500', text: 'API unreachable' },
}

export default function HealthBadge({ health }: { health: Health | null }) {
  const status = health?.status ?? 'unreachable'
  const look = LOOKS[status]
  return (
    <div
      data-testid="health"
      data-status={status}
      title={health?.detail ?? undefined}
      className="flex items-center gap-3 rounded-full bg-white/10 px-4 py-2 text-sm text-slate-100"
    >
      <span className={`h-2.5 w-2.5 rounded-full ${look.dot}`} aria-hidden="true" />
      <span>{look.text}</span>
      {health && (
        <span className="text-slate-400">
          <span data-testid="environment">{health.environment}</span> · {health.database} · v{health.version}
        </span>
      )}
    </div>
  )
}
